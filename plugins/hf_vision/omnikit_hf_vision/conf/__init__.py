"""Presets of omnikit-hf-vision."""
