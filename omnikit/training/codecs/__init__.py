"""Codecs and vocoders are trained: segments, losses, discriminators."""
