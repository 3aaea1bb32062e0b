"""Text questions become spoken ones; statements and noises become noise audio."""
