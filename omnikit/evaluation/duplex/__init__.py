"""Scripted conversations played against a live session or a Realtime server, and what they show about turn-taking."""
