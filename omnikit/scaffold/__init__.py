"""A new plugin's distribution, from templates: one for each kind of component."""
