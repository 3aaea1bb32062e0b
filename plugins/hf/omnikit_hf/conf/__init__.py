"""Presets of this package."""
