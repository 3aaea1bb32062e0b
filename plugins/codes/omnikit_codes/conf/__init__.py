"""Presets of omnikit-basics."""
