"""A Mel filter bank, strided convolutions and a transformer."""
