"""PaliGemma: a SigLIP's last layer through one Linear, in front of a Gemma that attends to its prompt both ways."""

from __future__ import annotations

from omnikit.contracts.configs import ModelDescription
from omnikit.recipe.schema import plain
from omnikit_hf_models import vision
from omnikit_hf_models.classes import ModelClass, Source, Tree
from omnikit_hf_models.llava import IMAGE, INSIDE


def branches(source: Source) -> Tree:
    """Give the branch `vision`."""
    facts = source.facts
    if facts.text_config.model_type != "gemma":
        raise source.refuse("text_config.model_type", facts.text_config.model_type, "gemma, the language model of PaliGemma")
    if facts.projection_dim != facts.text_config.hidden_size:
        raise source.refuse("projection_dim", facts.projection_dim, "the hidden size of the language model")
    return {"vision": {"encoder": vision.encoder(source, -1, class_token=True, norm=True), "projector": {"use": "linear"}}}


def config(model: ModelDescription) -> dict[str, object]:
    """Give the keys of a PaliGemma's config.json."""
    return {"model_type": "paligemma", "projection_dim": model.parts["backbone"].dim,
            "vision_config": vision.vision_config(plain(model.parts["vision.encoder"]))}


def fits(model: ModelDescription) -> bool:
    """Whether the last layer of a SigLIP, normed, passes one Linear to a Gemma."""
    tower = plain(model.parts["vision.encoder"])
    return bool(tower["family"] == "siglip" and tower["final_norm"] and model.parts["backbone"].model_type == "gemma")


ALIASES = ((r"^language_model\.lm_head\.", "lm_head."), (r"^language_model\.model\.", "model.language_model."),
           (r"^(vision_tower|multi_modal_projector)\.", r"model.\1."),
           (r"^model\.vision_tower\.vision_model\.", "model.vision_tower."))
PALIGEMMA = ModelClass(
    "PaliGemmaForConditionalGeneration", branches,
    {"vision.encoder": "hf_vision", "vision.projector": "linear", "backbone": "hf_prefix"},
    (("model.vision_tower.", "vision.encoder", "tower."),
     ("model.multi_modal_projector.linear.", "vision.projector", "layers.0."), *INSIDE), config,
    {"image_token_index": IMAGE}, ALIASES,
    fits, lambda facts: vision.unused(facts.vision_config, -1, r"model\.vision_tower\.", norm=True))
