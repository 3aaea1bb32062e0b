"""How large the towers and projectors of classes of transformers are, by their configurations. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping

from omnikit.contracts.footprint import Footprint, Matrix, Saved, convolution, linear

IMPORTS = 46 * 2**20  # bytes of transformers' modelling code in a process
Config = Mapping[str, object]


def image_tower(config: Config, dim: int, patches: int, patch: int) -> Footprint:
    """Give how large an image tower is; what a layer keeps for a patch is InternViT's, which is built alike."""
    kind, layers, ffn = str(config["model_type"]), int(str(config["num_hidden_layers"])), int(str(config["intermediate_size"]))
    layer = 4 * dim * dim + dim + linear(dim, ffn) + linear(ffn, dim) + 4 * dim
    embeddings = convolution(3, dim, patch**2) + patches * dim
    if kind == "internvl_vision":
        layer += 3 * dim * bool(config.get("attention_bias")) + 2 * dim * bool(config.get("use_qk_norm")) + 2 * dim
        layer -= 2 * dim * (config.get("norm_type") == "rms_norm")
        embeddings += 2 * dim if config.get("use_absolute_position_embeddings", True) else dim - patches * dim
        closing = 0 if config.get("use_mean_pooling", True) else 2 * dim
    elif kind in ("blip_2_vision_model", "instructblip_vision_model"):
        layer += 3 * dim * bool(config.get("qkv_bias", True))
        embeddings, closing = embeddings + 2 * dim, 2 * dim
    else:
        layer, closing = layer + 3 * dim, 2 * dim
    return Footprint(embeddings + layers * layer + closing, layers, dim, Saved(2 * dim, 8 * dim + 2 * ffn),
                     Saved(3 * patch**2 + 2 * dim), matrices=_matrices(layers, dim, ffn), imports=IMPORTS)


def audio_tower(config: Config, dim: int, bins: int) -> Footprint:
    """Give how large Whisper's encoder is; two positions of its layers become one frame."""
    layers, ffn = int(str(config["encoder_layers"])), int(str(config["encoder_ffn_dim"]))
    layer = 4 * dim * dim + 3 * dim + linear(dim, ffn) + linear(ffn, dim) + 4 * dim
    total = convolution(bins, dim, 3) + convolution(dim, dim, 3) + layers * layer + 2 * dim
    return Footprint(total, layers, 2 * dim, Saved(4 * dim, 16 * dim + 4 * ffn), Saved(8 * bins + 12 * dim),
                     matrices=_matrices(layers, dim, ffn), imports=IMPORTS)


def _matrices(layers: int, dim: int, ffn: int) -> tuple[Matrix, ...]:
    return Matrix(4 * layers, dim, dim), Matrix(layers, dim, ffn), Matrix(layers, ffn, dim)
