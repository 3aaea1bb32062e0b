"""Presets of omnikit-openclip."""
