"""DeepSeek-VL's hybrid: a SAM for high resolution and a SigLIP on one image, joined channel by channel."""

from __future__ import annotations

from transformers.configuration_utils import PreTrainedConfig

from omnikit.contracts.configs import ModelDescription
from omnikit.contracts.specs import RESAMPLING
from omnikit.recipe.model_config import processor_config
from omnikit.recipe.schema import plain
from omnikit_hf_models import vision
from omnikit_hf_models.classes import ModelClass, Source, Tree
from omnikit_hf_models.llava import INSIDE
from omnikit_hf_models.own_towers import keys_of

LOW = "vision_low"


def branches(source: Source) -> Tree:
    """Give the branches `vision`, whose projector takes both towers, and `vision_low`."""
    facts = source.facts
    low = vision.encoder(source, -1, class_token=True, norm=True) | {"fit": "pad"}
    high = {"use": "hf_high_res_tower", "config": keys_of(facts.high_res_vision_config),
            "side": facts.vision_config.image_size // facts.vision_config.patch_size, **high_res_images(source)}
    return {"vision": {"encoder": high, "projector": {"use": "concat_mlp", "hidden": 0, "depth": 1, "activation": "gelu"},
                       "sources": [LOW]},
            LOW: {"encoder": low, "input": "vision"}}


def high_res_images(source: Source) -> dict[str, object]:
    """Give how the folder prepares images for the tower of high resolution; {} where it does not say.

    Raises:
        RunError: they are of another size than the tower's.
    """
    config = processor_config(source.file.parent, "image_processor")
    side, size = source.facts.high_res_vision_config.image_size, config.get("high_res_size")
    if isinstance(size, dict) and (size.get("height"), size.get("width")) != (side, side):
        raise source.refuse("high_res_size of its images", size, f"{side} x {side}, the tower's own")
    found: dict[str, object] = {ours: config[theirs] for ours, theirs in (
        ("mean", "high_res_image_mean"), ("deviation", "high_res_image_std")) if theirs in config}
    number = config.get("high_res_resample")
    return found | ({"resample": RESAMPLING[number]} if isinstance(number, int) else {})


def config(model: ModelDescription) -> dict[str, object]:
    """Give the keys of config.json beside those of the language model."""
    return {"model_type": "deepseek_vl_hybrid", "vision_config": vision.vision_config(plain(model.parts[f"{LOW}.encoder"])),
            "high_res_vision_config": plain(model.parts["vision.encoder"].config)}


def fits(model: ModelDescription) -> bool:
    """Whether a SigLIP's last layer, normed, is joined to a SAM of its grid by half the width each, GELU and one Linear."""
    low, high, projector = (model.parts[part] for part in (f"{LOW}.encoder", "vision.encoder", "vision.projector"))
    width, dim = projector.hidden, model.parts["backbone"].dim
    return bool(low.family == "siglip" and low.final_norm and high.side == low.size // low.patch and projector.depth == 1
                and projector.activation == "gelu" and width in (0, dim // 2))


def unused(facts: PreTrainedConfig) -> str:
    """Give the pattern of SigLIP's tensors behind its last layer."""
    return vision.unused(facts.vision_config, -1, r"model\.vision_model\.", norm=True)


HIGH = "model.high_res_vision_"
DEEPSEEK_VL_HYBRID = ModelClass(
    "DeepseekVLHybridForConditionalGeneration", branches,
    {"vision.encoder": "hf_high_res_tower", f"{LOW}.encoder": "hf_vision", "vision.projector": "concat_mlp", "backbone": "hf"},
    ((f"{HIGH}model.", "vision.encoder", "model."), (f"{HIGH}neck.", "vision.encoder", "neck."),
     (f"{HIGH}proj.", "vision.encoder", "proj."), (f"{HIGH}alpha", "vision.encoder", "alpha"),
     ("model.vision_model.", f"{LOW}.encoder", "tower."),
     ("model.aligner.high_res_vision_proj.", "vision.projector", "inputs.0."),
     ("model.aligner.vision_proj.", "vision.projector", "inputs.1."),
     ("model.aligner.proj.", "vision.projector", "layers.1."), *INSIDE), config,
    {"image_token_id": ("<image_placeholder>",)}, ((r"^model\.vision_model\.vision_model\.", "model.vision_model."),), fits,
    unused)
