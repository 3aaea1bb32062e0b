"""The families of image towers: transformers' names of our fields, and its values where a config.json is silent. Light."""

from dataclasses import dataclass, field
from math import isqrt

from omnikit.recipe.model_config import Values, integer, positive

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
OPENAI = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

Value = int | float | str | bool | tuple[int, ...]


@dataclass(frozen=True)
class Family:
    """What sets one family of towers apart.

    Args:
        types: of `model_type` in a config.json, with and without a text tower beside it.
        patch: default of `patch_size`.
        trained_size: default of `image_size`.
        eps: default of `layer_norm_eps`.
        activation: default of `hidden_act`.
        class_tokens: tokens before the patches.
        closes: whether a norm (of SAM: a neck) stands between the last layer and what the library gives.
        colours: mean and deviation of its images where no preprocessor_config.json states them.
        fit: how its images become squares, likewise; see ImageSpec.
        resample: the filter, likewise.
        fixed: keys of a config.json, each with the one value that is built here.
    """

    types: tuple[str, ...]
    patch: int
    trained_size: int
    eps: float
    activation: str
    class_tokens: int
    closes: bool
    colours: tuple[tuple[float, float, float], tuple[float, float, float]]
    fit: str
    resample: str = "bicubic"
    fixed: dict[str, object] = field(default_factory=dict)


FAMILIES = {
    "clip": Family(("clip", "clip_vision_model"), 32, 224, 1e-5, "quick_gelu", 1, False, OPENAI, "crop"),
    "siglip": Family(("siglip", "siglip_vision_model"), 16, 224, 1e-6, "gelu_pytorch_tanh", 0, True, HALF, "stretch"),
    "siglip2": Family(("siglip2", "siglip2_vision_model"), 16, 256, 1e-6, "gelu_pytorch_tanh", 0, True, HALF, "stretch",
                      "bilinear"),
    "dinov2": Family(("dinov2",), 14, 224, 1e-6, "gelu", 1, True, IMAGENET, "crop", fixed={"qkv_bias": True}),
    "sam": Family(("sam", "sam_vision_model"), 16, 1024, 1e-6, "gelu", 0, True, IMAGENET, "corner", "bilinear",
                  {"qkv_bias": True, "use_rel_pos": True, "use_abs_pos": True}),
}  # defaults: configuration_*.py and image_processing_*.py of transformers 5.23


def family_of(config: Values, where: str) -> str:
    """Give the family that a config.json is of; raises ValueError if it is none of ours."""
    kind = config.get("model_type")
    found = next((name for name, family in FAMILIES.items() if kind in family.types), None)
    if found is None:
        raise ValueError(f"{where} has model_type {kind!r}, but hf_vision builds {', '.join(FAMILIES)}")
    return found


def sizes(name: str, config: Values, where: str) -> dict[str, Value]:
    """Give our fields of a tower as a config.json has them, with transformers' defaults where it is silent.

    Args:
        config: the whole config.json; where it is of a model with a text tower, its `vision_config` counts.

    Raises:
        ValueError: a number is out of range, or the tower is of a kind that is not built here.
    """
    inner, family = config.get("vision_config"), FAMILIES[name]
    values = inner if isinstance(inner, dict) else config
    for key, only in {"num_channels": 3, **family.fixed}.items():
        if values.get(key, only) != only:
            raise ValueError(f"{where} has {key} {values[key]!r}, but hf_vision builds towers with {only!r} alone")
    dim, patch = integer(values, "hidden_size", 768, where), integer(values, "patch_size", family.patch, where)
    found: dict[str, Value] = {
        "dim": dim, "patch": patch, "layers": integer(values, "num_hidden_layers", 12, where),
        "heads": integer(values, "num_attention_heads", 12, where), "ffn": _ffn(name, values, dim, where),
        "eps": positive(values, "layer_norm_eps", family.eps, where),
        "activation": str(values.get("hidden_act", family.activation)),
        "trained_size": integer(values, "image_size", family.trained_size, where),
    }
    if name == "siglip2":
        found["trained_size"] = patch * isqrt(integer(values, "num_patches", 256, where))
    if name == "dinov2":
        found["swiglu"] = bool(values.get("use_swiglu_ffn", False))
    if name == "sam":
        layers = values.get("global_attn_indexes", [2, 5, 8, 11])
        found |= {"window": integer(values, "window_size", 14, where), "neck": integer(values, "output_channels", 256, where),
                  "global_layers": tuple(layers) if isinstance(layers, list | tuple) else ()}
    return found


def _ffn(name: str, values: Values, dim: int, where: str) -> int:
    if name == "dinov2" or (name == "sam" and values.get("mlp_dim") is None):
        return int(dim * positive(values, "mlp_ratio", 4.0, where))
    return integer(values, "mlp_dim" if name == "sam" else "intermediate_size", 3072, where)
