"""LlavaForConditionalGeneration: a tower's patches through two Linears, in the place of the image token."""

from __future__ import annotations

from transformers.configuration_utils import PreTrainedConfig

from omnikit.contracts.configs import ModelDescription
from omnikit.recipe.schema import plain
from omnikit_hf_models import vision
from omnikit_hf_models.classes import ModelClass, Source, Tree

ACTIVATIONS = ("gelu", "relu", "silu")
LANGUAGE = (("language_model.lm_head.", "backbone", "lm_head."), ("language_model.model.", "backbone", "model."))
TOWER = ("vision_tower.", "vision.encoder", "tower.")
ALIASES = ((r"^lm_head\.", "language_model.lm_head."), (r"^model\.language_model\.", "language_model.model."),
           (r"^model\.(vision_tower|multi_modal_projector)\.", r"\1."), (r"^vision_tower\.vision_model\.", "vision_tower."))


def branches(source: Source) -> Tree:
    """Give the branch `vision`."""
    facts = source.facts
    if not facts.multimodal_projector_bias:
        raise source.refuse("multimodal_projector_bias", False, "projectors with biases")
    if facts.projector_hidden_act not in ACTIVATIONS:
        raise source.refuse("projector_hidden_act", facts.projector_hidden_act, ", ".join(ACTIVATIONS))
    full = facts.vision_feature_select_strategy == "full"
    return {"vision": {"encoder": vision.encoder(source, facts.vision_feature_layer, class_token=full),
                       "projector": {"use": "mlp", "hidden": 0, "depth": 2, "activation": facts.projector_hidden_act}}}


def config(model: ModelDescription) -> dict[str, object]:
    """Give the keys of config.json beside those of the language model."""
    tower, projector = (plain(model.parts[f"vision.{slot}"]) for slot in ("encoder", "projector"))
    layers = tower["feature_layers"]
    return {"model_type": "llava", "vision_config": vision.vision_config(tower),
            "vision_feature_layer": layers[0] if len(layers) == 1 else layers,
            "vision_feature_select_strategy": "full" if tower["class_token"] or tower["family"] == "siglip" else "default",
            "projector_hidden_act": projector["activation"], "multimodal_projector_bias": True,
            "image_seq_length": (tower["size"] // tower["patch"]) ** 2 + int(tower["class_token"])}


def unused(facts: PreTrainedConfig) -> str:
    """Give the pattern of the tower's tensors that no layer reads."""
    return vision.unused(facts.vision_config, facts.vision_feature_layer, r"vision_tower\.")


LLAVA = ModelClass(
    "LlavaForConditionalGeneration", branches,
    {"vision.encoder": "hf_vision", "vision.projector": "mlp", "backbone": "hf"},
    (TOWER, ("multi_modal_projector.linear_1.", "vision.projector", "layers.0."),
     ("multi_modal_projector.linear_2.", "vision.projector", "layers.2."), *LANGUAGE), config,
    {"image_token_index": ("<image>",)}, ALIASES, unused)
