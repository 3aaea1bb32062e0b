"""Readers of the dataset formats of other projects: conversations, speech manifests, Hugging Face datasets, tar shards."""
