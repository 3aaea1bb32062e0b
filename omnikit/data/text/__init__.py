"""Conversations to text, text to ids."""
