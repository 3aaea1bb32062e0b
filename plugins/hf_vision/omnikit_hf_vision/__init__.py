"""Image towers of transformers: CLIP, SigLIP, SigLIP 2, DINOv2 and SAM's image encoder."""
