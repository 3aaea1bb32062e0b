"""A trained run answers: generation, streaming, speech, turn detection. Imports no training."""
