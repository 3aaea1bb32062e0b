"""Audio encoders of transformers: Wav2Vec2, HuBERT, WavLM, W2V-BERT, Whisper and AST."""
