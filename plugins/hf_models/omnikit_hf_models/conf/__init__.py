"""Presets of omnikit-hf-models."""
