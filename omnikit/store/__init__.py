"""Files of runs and checkpoints: run folders, manifests, safetensors, hashes, locks, imports and exports."""
