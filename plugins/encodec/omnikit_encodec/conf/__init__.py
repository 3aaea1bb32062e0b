"""Presets of omnikit-encodec."""
