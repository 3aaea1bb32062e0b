"""The Whisper encoder under transformers' weight names."""
