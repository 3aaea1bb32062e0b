"""Presets of omnikit-whisper."""
