"""Presets of omnikit-HuBERT."""
