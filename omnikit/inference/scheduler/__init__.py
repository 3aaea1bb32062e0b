"""Engines: many answers at once, step by step, on one copy of the weights."""
