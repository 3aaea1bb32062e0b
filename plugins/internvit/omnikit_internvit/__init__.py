"""InternViT under its published weight names."""
