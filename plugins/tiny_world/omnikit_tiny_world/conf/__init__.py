"""Presets of this plugin."""
