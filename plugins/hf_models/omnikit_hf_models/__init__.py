"""Multimodal models of transformers as recipes of parts, read and written."""
