"""Presets of omnikit-internvit."""
