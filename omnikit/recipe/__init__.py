"""A YAML becomes a Recipe: composed by Hydra, here and nowhere else, and checked key by key."""
