"""A vision_config of CLIP or SigLIP as the encoder `hf_vision`, and back; how the folder prepares images."""

from __future__ import annotations

from collections.abc import Mapping

from transformers.configuration_utils import PreTrainedConfig

from omnikit.contracts.specs import RESAMPLING
from omnikit.recipe.model_config import processor_config
from omnikit_hf_models.classes import Source

FAMILIES = {"clip_vision_model": "clip", "siglip_vision_model": "siglip"}
NAMES = {"dim": "hidden_size", "layers": "num_hidden_layers", "heads": "num_attention_heads", "ffn": "intermediate_size",
         "patch": "patch_size", "trained_size": "image_size", "activation": "hidden_act", "eps": "layer_norm_eps"}


def encoder(source: Source, layers: object, *, class_token: bool, norm: bool = False) -> dict[str, object]:
    """Give the encoder's settings.

    Args:
        layers: vision_feature_layer of a config.json, one or several.
        class_token: whether the vector before the patches is taken too.
        norm: whether the norm behind the last layer is taken.

    Raises:
        RunError: the tower is of another family, or images are prepared otherwise.
    """
    facts: PreTrainedConfig = source.facts.vision_config
    family = FAMILIES.get(facts.model_type)
    if family is None:
        raise source.refuse("vision_config.model_type", facts.model_type, f"towers {', '.join(FAMILIES)}")
    if family == "siglip" and not class_token:
        raise source.refuse("vision_feature_select_strategy", "default", "for a SigLIP, which has no class token, 'full'")
    chosen = list(layers) if isinstance(layers, list | tuple) else [layers]
    return {"use": "hf_vision", "family": family, **{ours: getattr(facts, theirs) for ours, theirs in NAMES.items()},
            "feature_layers": chosen, "final_norm": norm,
            "class_token": class_token and family == "clip", **images(source)}


def vision_config(fields: Mapping[str, object]) -> dict[str, object]:
    """Give the vision_config of an encoder `hf_vision` whose fields these are."""
    kind = next(kind for kind, family in FAMILIES.items() if family == fields["family"])
    head = {"vision_use_head": False} if kind == "siglip_vision_model" else {}
    return {"model_type": kind, **{theirs: fields[ours] for ours, theirs in NAMES.items()}, **head}


def unused(facts: PreTrainedConfig, layers: object, prefix: str, *, norm: bool = False) -> str:
    """Give the pattern of a tower's tensors behind the last layer that is taken.

    Args:
        layers: vision_feature_layer of a config.json, one or several.
        prefix: what stands before the tower's names, as a pattern.
        norm: whether the norm behind the last layer is taken.
    """
    total: int = facts.num_hidden_layers
    chosen = [int(str(one)) for one in (layers if isinstance(layers, list | tuple) else [layers])]
    depth = max(one if one >= 0 else total + 1 + one for one in chosen)
    behind = [rf"encoder\.layers\.{number}\." for number in range(depth, total)]
    closing = [] if norm else [r"post_layernorm\."]  # hidden_states come before it
    return f"{prefix}(" + "|".join([*behind, *closing, r"head\."]) + ")"


def images(source: Source) -> dict[str, object]:
    """Give how the folder prepares images, by fields of `hf_vision`; {} where it does not say.

    Raises:
        RunError: images do not become squares.
    """
    config = processor_config(source.file.parent, "image_processor")
    found: dict[str, object] = {ours: config[theirs] for ours, theirs in (("mean", "image_mean"), ("deviation", "image_std"))
                                if theirs in config}
    number = config.get("resample")
    found |= {"resample": RESAMPLING[number]} if isinstance(number, int) else {}
    size, cut = (_sides(config.get(key)) for key in ("size", "crop_size"))
    if size is None:
        return found
    if len(size) == 1 and config.get("do_center_crop", True):
        side = cut[0] if cut else size[0]
        return found | {"size": side, "fit": "crop"} | ({"edge": size[0]} if size[0] > side else {})
    if len(size) == 2 and size[0] == size[1]:
        return found | {"size": size[0], "fit": "stretch"}
    raise source.refuse("size of its images", config.get("size"), "square images")


def _sides(value: object) -> tuple[int, ...] | None:
    """Give the shortest edge, or height and width; None where a longest edge is bounded before tiles are cut."""
    if isinstance(value, int):
        return (value,)
    if not isinstance(value, Mapping):
        return None
    keys = ("shortest_edge",) if "shortest_edge" in value else ("height", "width")
    return tuple(int(value[key]) for key in keys) if all(key in value for key in keys) else None
