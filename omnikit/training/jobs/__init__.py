"""Stages of one recipe side by side, each job a process of its own."""
