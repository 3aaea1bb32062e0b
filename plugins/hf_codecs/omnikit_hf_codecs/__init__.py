"""Codecs of transformers: Mimi and DAC."""
