"""Small numerics that several components share: k-means, LLaMA layers, rotary angles, KV caches."""
