"""Projectors, text heads and the JSONL reader that belong to no system of their own."""
