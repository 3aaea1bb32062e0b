"""A Recipe becomes a Plan: components wired by their contracts, stages checked, every mismatch reported. Imports no torch."""
