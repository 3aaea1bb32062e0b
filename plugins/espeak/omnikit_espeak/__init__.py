"""Text to speech in-process with espeak-ng."""
