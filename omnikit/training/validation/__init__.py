"""Held-out rows are measured meanwhile; the best weights are saved, and a stage may end early."""
