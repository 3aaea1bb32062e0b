"""VITA's data format and published files."""
