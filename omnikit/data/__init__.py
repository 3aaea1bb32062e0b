"""Rows become batches: media, text, packing, samplers; datasets built, checked and inspected."""
