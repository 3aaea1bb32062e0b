"""Presets of omnikit-mel-cnn."""
