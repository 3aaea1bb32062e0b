"""Classes of transformers whose tower or projector stands in no other: InternVL, BLIP-2, Qwen2-Audio, Voxtral."""

from __future__ import annotations

from collections.abc import Callable

from transformers.configuration_utils import PreTrainedConfig

from omnikit.contracts.configs import ModelDescription
from omnikit.recipe.schema import plain
from omnikit_hf_models.classes import ModelClass, Source, Tree
from omnikit_hf_models.llava import ALIASES, IMAGE, LANGUAGE
from omnikit_hf_models.vision import images

IMAGE_PARTS = {"vision.encoder": "hf_image_tower", "vision.projector": "hf_projector", "backbone": "hf"}
AUDIO_ALIASES = (*ALIASES, (r"^model\.audio_tower\.", "audio_tower."))
WHISPER = {"dim": "d_model", "layers": "encoder_layers", "heads": "encoder_attention_heads", "ffn": "encoder_ffn_dim",
           "mel_bins": "num_mel_bins", "positions": "max_source_positions", "activation": "activation_function"}


def keys_of(facts: PreTrainedConfig) -> dict[str, object]:
    """Give a configuration without what every one has."""
    common, found = PreTrainedConfig().to_dict(), dict[str, object](facts.to_dict())
    own = {key: value for key, value in found.items() if key not in common or common[key] != value}
    return {"model_type": facts.model_type, **{key: list(value) if isinstance(value, tuple) else value
                                              for key, value in own.items() if key not in ("transformers_version", "dtype")}}


def image_tower(source: Source) -> dict[str, object]:
    """Give the encoder of a folder whose tower is its class's own; raises RunError where images have another size."""
    config, found = keys_of(source.facts.vision_config), images(source)
    sizes = config["image_size"]
    side = sizes[0] if isinstance(sizes, list) else sizes
    if found.pop("size", side) != side:
        raise source.refuse("vision_config.image_size", side, "towers whose images are prepared in that size")
    return {"use": "hf_image_tower", "config": config, **found}


def internvl_branches(source: Source) -> Tree:
    """Give the branch `vision` of an InternVL."""
    facts = source.facts
    for key, only in (("vision_feature_layer", -1), ("vision_feature_select_strategy", "default")):
        if getattr(facts, key) != only:
            raise source.refuse(key, getattr(facts, key), repr(only))
    if facts.vision_config.use_mask_token:
        raise source.refuse("vision_config.use_mask_token", True, "towers without a mask token")
    projector = {"model_type": "internvl", "downsample_ratio": facts.downsample_ratio,
                 "projector_hidden_act": facts.projector_hidden_act}
    return {"vision": {"encoder": image_tower(source), "projector": {"use": "hf_projector", "config": projector}}}


def internvl_config(model: ModelDescription) -> dict[str, object]:
    """Give the keys of an InternVL's config.json."""
    tower, projector = model.parts["vision.encoder"], model.parts["vision.projector"]
    return {"vision_config": plain(tower.config), "vision_feature_layer": -1, "vision_feature_select_strategy": "default",
            "image_seq_length": projector.length(tower.length(1)), **plain(projector.config)}


def blip_branches(source: Source) -> Tree:
    """Give the branch `vision` of a BLIP-2 with a causal language model."""
    facts = source.facts
    if facts.text_config.is_encoder_decoder:
        raise source.refuse("text_config.model_type", facts.text_config.model_type, "BLIP-2 with a causal language model")
    projector = {"model_type": "blip-2", "num_query_tokens": facts.num_query_tokens,
                 "qformer_config": keys_of(facts.qformer_config)}
    return {"vision": {"encoder": image_tower(source), "projector": {"use": "hf_projector", "config": projector}}}


def blip_config(model: ModelDescription) -> dict[str, object]:
    """Give the keys of a BLIP-2's config.json."""
    return {"vision_config": plain(model.parts["vision.encoder"].config), **plain(model.parts["vision.projector"].config)}


def idefics_branches(source: Source) -> Tree:
    """Give the branch `vision` of an Idefics3 or a SmolVLM."""
    projector = {"model_type": "idefics3", "scale_factor": source.facts.scale_factor}
    return {"vision": {"encoder": image_tower(source), "projector": {"use": "hf_projector", "config": projector}}}


def idefics_config(model: ModelDescription) -> dict[str, object]:
    """Give the keys of an Idefics3's or a SmolVLM's config.json."""
    tower, projector = model.parts["vision.encoder"].config, model.parts["vision.projector"].config
    return {"model_type": str(tower["model_type"]).removesuffix("_vision"), "vision_config": plain(tower),
            "scale_factor": projector["scale_factor"]}


def tower_is(kind: str) -> Callable[[ModelDescription], bool]:
    """Give what holds for an Idefics3's projector behind a tower of a class."""
    return lambda model: (getattr(model.parts["vision.projector"], "kind", None) == "idefics3"
                          and model.parts["vision.encoder"].config["model_type"] == kind)


def qwen_branches(source: Source) -> Tree:
    """Give the branch `audio` of a Qwen2-Audio."""
    return {"audio": {"encoder": {"use": "hf_audio_tower", "config": keys_of(source.facts.audio_config)},
                      "projector": {"use": "linear"}}}


def qwen_config(model: ModelDescription) -> dict[str, object]:
    """Give the keys of a Qwen2-Audio's config.json."""
    return {"model_type": "qwen2_audio", "audio_config": plain(model.parts["audio.encoder"].config)}


def voxtral_branches(source: Source) -> Tree:
    """Give the branch `audio` of a Voxtral: Whisper's encoder, and as many frames joined as its projector is wide."""
    audio = source.facts.audio_config
    if audio.intermediate_size % audio.hidden_size:
        raise source.refuse("audio_config.intermediate_size", audio.intermediate_size, "multiples of its hidden_size")
    encoder = {ours: getattr(audio, theirs, None) for ours, theirs in WHISPER.items()}
    encoder |= {"ffn": audio.intermediate_size}
    projector = {"model_type": "voxtral", "stack": audio.intermediate_size // audio.hidden_size,
                 "projector_hidden_act": source.facts.projector_hidden_act}
    return {"audio": {"encoder": {"use": "hf_audio", "family": "whisper", **encoder},
                      "projector": {"use": "hf_projector", "config": projector}}}


def voxtral_config(model: ModelDescription) -> dict[str, object]:
    """Give the keys of a Voxtral's config.json."""
    tower, projector = plain(model.parts["audio.encoder"]), plain(model.parts["audio.projector"])["config"]
    return {"model_type": "voxtral", "projector_hidden_act": projector["projector_hidden_act"], "audio_config": {
        "model_type": "voxtral_encoder", "hidden_size": tower["dim"], "num_hidden_layers": tower["layers"],
        "num_attention_heads": tower["heads"], "intermediate_size": tower["ffn"], "num_mel_bins": tower["mel_bins"],
        "max_source_positions": tower["positions"], "activation_function": tower["activation"]}}


def projects(part: str, kind: str) -> Callable[[ModelDescription], bool]:
    """Give what holds for a model whose projector is of one class."""
    return lambda model: getattr(model.parts[part], "kind", None) == kind


MULTI_MODAL = "multi_modal_projector."
AUDIO_TOWER = ("audio_tower.", "audio.encoder", "tower.")
INTERNVL = ModelClass(
    "InternVLForConditionalGeneration", internvl_branches, IMAGE_PARTS,
    (("vision_tower.", "vision.encoder", "tower."), (MULTI_MODAL, "vision.projector", ""), *LANGUAGE), internvl_config,
    {"image_token_id": ("<IMG_CONTEXT>",)}, ALIASES[:3], projects("vision.projector", "internvl"), template="qwen2p5_instruct")
BLIP_2 = ModelClass(
    "Blip2ForConditionalGeneration", blip_branches, IMAGE_PARTS,
    (("vision_model.", "vision.encoder", "tower."), *LANGUAGE, *((f"{name}", "vision.projector", name) for name in (
        "query_tokens", "qformer.", "language_projection."))), blip_config, {"image_token_index": IMAGE}, (),
    projects("vision.projector", "blip-2"), template="blip_2")
IDEFICS_NAMES = (
    ("model.vision_model.", "vision.encoder", "tower."), ("model.connector.modality_projection.", "vision.projector", ""),
    ("model.text_model.", "backbone", "model."), ("lm_head.", "backbone", "lm_head."))
IDEFICS3, SMOLVLM = (ModelClass(
    f"{name}ForConditionalGeneration", idefics_branches, IMAGE_PARTS, IDEFICS_NAMES, idefics_config,
    {"image_token_id": IMAGE}, (), tower_is(f"{name.lower()}_vision"), template="idefics3") for name in ("Idefics3", "SmolVLM"))
QWEN2_AUDIO = ModelClass(
    "Qwen2AudioForConditionalGeneration", qwen_branches,
    {"audio.encoder": "hf_audio_tower", "audio.projector": "linear", "backbone": "hf"},
    (AUDIO_TOWER, (f"{MULTI_MODAL}linear.", "audio.projector", "layers.0."), *LANGUAGE), qwen_config,
    {"audio_token_index": ("<|AUDIO|>",)}, AUDIO_ALIASES, template="qwen2p5_instruct")
VOXTRAL = ModelClass(
    "VoxtralForConditionalGeneration", voxtral_branches,
    {"audio.encoder": "hf_audio", "audio.projector": "hf_projector", "backbone": "hf"},
    (AUDIO_TOWER, (MULTI_MODAL, "audio.projector", ""), *LANGUAGE), voxtral_config, {"audio_token_id": ("[AUDIO]",)},
    AUDIO_ALIASES, projects("audio.projector", "voxtral"), template="mixtral_instruct")
