"""LLaVA, ViP-LLaVA and DeepSeek-VL: a tower's patches through two Linears, in the place of the image token."""

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


def activation(source: Source) -> str:
    """Give what stands between the projector's Linears; raises RunError where they lack biases or it is another."""
    facts = source.facts
    if not facts.multimodal_projector_bias:
        raise source.refuse("multimodal_projector_bias", False, "projectors with biases")
    if facts.projector_hidden_act not in ACTIVATIONS:
        raise source.refuse("projector_hidden_act", facts.projector_hidden_act, ", ".join(ACTIVATIONS))
    return str(facts.projector_hidden_act)


def branches(source: Source) -> Tree:
    """Give the branch `vision`."""
    facts, act = source.facts, activation(source)
    full = facts.vision_feature_select_strategy == "full"
    return {"vision": {"encoder": vision.encoder(source, facts.vision_feature_layer, class_token=full),
                       "projector": {**MLP, "activation": act}}}


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


def fits(model: ModelDescription) -> bool:
    """Whether a tower's patches pass two Linears, the first as wide as the language model."""
    tower, projector = (plain(model.parts[f"vision.{slot}"]) for slot in ("encoder", "projector"))
    dim = model.parts["backbone"].dim
    return (tower["family"] in vision.FAMILIES.values() and projector["depth"] == 2 and projector["hidden"] in (0, dim)
            and not projector["norm"] and not tower["final_norm"])


def vip_branches(source: Source) -> Tree:
    """Give the branch `vision` of a ViP-LLaVA, whose layers pass a norm together."""
    facts = source.facts
    if facts.projector_layernorm_eps != 1e-5:
        raise source.refuse("projector_layernorm_eps", facts.projector_layernorm_eps, "norms with 1e-05")
    if facts.projector_hidden_act not in ACTIVATIONS:
        raise source.refuse("projector_hidden_act", facts.projector_hidden_act, ", ".join(ACTIVATIONS))
    return {"vision": {"encoder": vision.encoder(source, facts.vision_feature_layer, class_token=False),
                       "projector": {**MLP, "activation": facts.projector_hidden_act, "norm": True}}}


def vip_config(model: ModelDescription) -> dict[str, object]:
    """Give the keys of a ViP-LLaVA's config.json."""
    found = config(model)
    names = ("vision_config", "vision_feature_layer", "projector_hidden_act", "image_seq_length")
    return {"model_type": "vipllava", **{key: found[key] for key in names}, "projector_layernorm_eps": 1e-5}


def vip_fits(model: ModelDescription) -> bool:
    """Whether the patches pass a norm and two Linears."""
    tower, projector = (plain(model.parts[f"vision.{slot}"]) for slot in ("encoder", "projector"))
    dim = model.parts["backbone"].dim
    return bool(tower["family"] == "clip" and projector["depth"] == 2 and projector["hidden"] in (0, dim)
                and projector["norm"] and not tower["class_token"])


def deepseek_branches(source: Source) -> Tree:
    """Give the branch `vision` of a DeepSeek-VL: a SigLIP's last layer behind its norm."""
    return {"vision": {"encoder": vision.encoder(source, -1, class_token=True, norm=True) | {"fit": "pad"},
                       "projector": {**MLP, "activation": "gelu"}}}


def deepseek_config(model: ModelDescription) -> dict[str, object]:
    """Give the keys of a DeepSeek-VL's config.json."""
    return {"model_type": "deepseek_vl", "vision_config": vision.vision_config(plain(model.parts["vision.encoder"]))}


def deepseek_fits(model: ModelDescription) -> bool:
    """Whether the last layer of a SigLIP, normed, passes two Linears."""
    tower, projector = (plain(model.parts[f"vision.{slot}"]) for slot in ("encoder", "projector"))
    dim = model.parts["backbone"].dim
    return bool(tower["family"] == "siglip" and tower["final_norm"] and projector["depth"] == 2 and not projector["norm"]
                and projector["hidden"] in (0, dim) and projector["activation"] == "gelu")


MLP: dict[str, object] = {"use": "mlp", "hidden": 0, "depth": 2}
USES = {"vision.encoder": "hf_vision", "vision.projector": "mlp", "backbone": "hf"}
LINEARS = (("multi_modal_projector.linear_1.", "vision.projector", "layers.0."),
           ("multi_modal_projector.linear_2.", "vision.projector", "layers.2."))
INSIDE = (("model.language_model.", "backbone", "model."), ("lm_head.", "backbone", "lm_head."))
IMAGE = ("<image>",)

LLAVA = ModelClass("LlavaForConditionalGeneration", branches, USES, (TOWER, *LINEARS, *LANGUAGE), config,
                   {"image_token_index": IMAGE}, ALIASES, fits, unused)
VIP_LLAVA = ModelClass(
    "VipLlavaForConditionalGeneration", vip_branches, USES,
    (TOWER, ("multi_modal_projector.projector_layernorm.", "vision.projector", "norm."), *LINEARS, *LANGUAGE), vip_config,
    {"image_token_index": IMAGE}, ALIASES, vip_fits, unused)
DEEPSEEK_VL = ModelClass(
    "DeepseekVLForConditionalGeneration", deepseek_branches, USES,
    (("model.vision_model.", "vision.encoder", "tower."), ("model.aligner.linear1.", "vision.projector", "layers.0."),
     ("model.aligner.linear2.", "vision.projector", "layers.2."), *INSIDE), deepseek_config,
    {"image_token_id": ("<image_placeholder>",)}, ((r"^model\.vision_model\.vision_model\.", "model.vision_model."),),
    deepseek_fits, lambda facts: vision.unused(facts.vision_config, -1, r"model\.vision_model\.", norm=True))
