"""Presets of omnikit-hf-audio."""
