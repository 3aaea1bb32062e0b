"""LLaMA-Omni's speech output: CTC unit head and unit vocoder."""
