"""Presets of omnikit-hf-codecs."""
