"""Voice activity detection with the weights of silero-vad."""
