"""Samples to padded or packed batches, and the order in which they are drawn."""
