"""Classes of transformers whose tower stands in no other: InternVL, BLIP-2, Idefics3, SmolVLM, Qwen2-Audio; and Voxtral."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from transformers.configuration_utils import PreTrainedConfig

from omnikit.contracts.configs import ModelDescription
from omnikit.recipe.schema import plain
from omnikit_hf_models.classes import ModelClass, Source, Tree
from omnikit_hf_models.language_t5 import T5
from omnikit_hf_models.llava import ACTIVATIONS, ALIASES, IMAGE, LANGUAGE
from omnikit_hf_models.vision import images

SQUARES = {"vision.encoder": "hf_image_tower", "vision.projector": "pixel_shuffle_mlp", "backbone": "hf"}
QUERIES = {"vision.encoder": "hf_image_tower", "vision.projector": "bert_qformer", "backbone": "hf"}
QFORMER = {"dim": "hidden_size", "layers": "num_hidden_layers", "heads": "num_attention_heads", "ffn": "intermediate_size",
           "cross_every": "cross_attention_frequency", "dropout": "hidden_dropout_prob"}
QFORMER_FIXED = {"hidden_act": "gelu", "layer_norm_eps": 1e-12}
"""Keys of a qformer_config that `bert_qformer` has one value of."""
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
    return {"vision": {"encoder": image_tower(source), "projector": {
        "use": "pixel_shuffle_mlp", "factor": round(1 / facts.downsample_ratio), "norm": True,
        "activation": activation(source)}}}


def internvl_config(model: ModelDescription) -> dict[str, object]:
    """Give the keys of an InternVL's config.json."""
    tower, projector = model.parts["vision.encoder"], model.parts["vision.projector"]
    return {"model_type": "internvl", "vision_config": plain(tower.config), "vision_feature_layer": -1,
            "vision_feature_select_strategy": "default", "image_seq_length": projector.length(tower.length(1)),
            "downsample_ratio": 1 / projector.factor, "projector_hidden_act": projector.activation}


def internvl_fits(model: ModelDescription) -> bool:
    """Whether an InternVL's patches pass a norm and two Linears."""
    projector = model.parts["vision.projector"]
    return bool(model.parts["vision.encoder"].config["model_type"] == "internvl_vision" and projector.norm and projector.bias
                and projector.depth == 2 and projector.hidden in (0, model.parts["backbone"].dim))


def activation(source: Source) -> str:
    """Give a projector's activation; raises RunError where projectors here have no such one."""
    found = str(source.facts.projector_hidden_act)
    if found not in ACTIVATIONS:
        raise source.refuse("projector_hidden_act", found, ", ".join(ACTIVATIONS))
    return found


def qformer(source: Source) -> dict[str, object]:
    """Give a Q-Former's settings; raises RunError where its activation or norms are others."""
    keys = source.facts.qformer_config
    for key, only in QFORMER_FIXED.items():
        if getattr(keys, key) != only:
            raise source.refuse(f"qformer_config.{key}", getattr(keys, key), repr(only))
    return {"use": "bert_qformer", "queries": source.facts.num_query_tokens,
            **{ours: getattr(keys, theirs) for ours, theirs in QFORMER.items()}}


def blip_branches(source: Source) -> Tree:
    """Give the branch `vision` of a BLIP-2."""
    return {"vision": {"encoder": image_tower(source), "projector": qformer(source)}}


def blip_config(model: ModelDescription) -> dict[str, object]:
    """Give the keys of a BLIP-2's config.json."""
    projector = plain(model.parts["vision.projector"])
    keys = {theirs: projector[ours] for ours, theirs in QFORMER.items()}
    return {"model_type": "blip-2", "vision_config": plain(model.parts["vision.encoder"].config),
            "num_query_tokens": projector["queries"],
            "qformer_config": {"model_type": "blip_2_qformer", **QFORMER_FIXED, **keys}}


def blip_fits(model: ModelDescription) -> bool:
    """Whether BLIP-2's tower passes a Q-Former that reads no text."""
    tower, projector = model.parts["vision.encoder"], model.parts["vision.projector"]
    return bool(tower.config["model_type"] == "blip_2_vision_model" and not projector.tokenizer)


def idefics_branches(source: Source) -> Tree:
    """Give the branch `vision` of an Idefics3 or a SmolVLM."""
    return {"vision": {"encoder": image_tower(source), "projector": {
        "use": "pixel_shuffle_mlp", "factor": source.facts.scale_factor, "depth": 1, "bias": False}}}


def idefics_config(model: ModelDescription) -> dict[str, object]:
    """Give the keys of an Idefics3's or a SmolVLM's config.json."""
    tower = model.parts["vision.encoder"].config
    return {"model_type": str(tower["model_type"]).removesuffix("_vision"), "vision_config": plain(tower),
            "scale_factor": model.parts["vision.projector"].factor}


def tower_is(kind: str) -> Callable[[ModelDescription], bool]:
    """Give what holds for one Linear without bias behind a tower of a class."""
    return lambda model: bool(
        model.parts["vision.encoder"].config["model_type"] == kind and model.parts["vision.projector"].depth == 1
        and not model.parts["vision.projector"].bias and not model.parts["vision.projector"].norm)


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
    return {"audio": {"encoder": {"use": "hf_audio", "family": "whisper", **encoder}, "projector": {
        "use": "stack_mlp", "stride": audio.intermediate_size // audio.hidden_size, "hidden": 0, "bias": False,
        "activation": activation(source)}}}


def voxtral_config(model: ModelDescription) -> dict[str, object]:
    """Give the keys of a Voxtral's config.json."""
    tower, projector = plain(model.parts["audio.encoder"]), plain(model.parts["audio.projector"])
    return {"model_type": "voxtral", "projector_hidden_act": projector["activation"], "audio_config": {
        "model_type": "voxtral_encoder", "hidden_size": tower["dim"], "num_hidden_layers": tower["layers"],
        "num_attention_heads": tower["heads"], "intermediate_size": tower["ffn"], "num_mel_bins": tower["mel_bins"],
        "max_source_positions": tower["positions"], "activation_function": tower["activation"]}}


def voxtral_fits(model: ModelDescription) -> bool:
    """Whether Whisper's frames, as many joined as its feed-forward layers are wide, pass two Linears without biases."""
    tower, projector = model.parts["audio.encoder"], model.parts["audio.projector"]
    return bool(tower.family == "whisper" and projector.stride * tower.dim == tower.ffn and not projector.bias
                and projector.tail == "drop" and projector.hidden in (0, model.parts["backbone"].dim))


def of_t5(names: Sequence[tuple[str, str, str]]) -> tuple[tuple[str, str, str], ...]:
    """Give the names of a class whose language model is a T5: that of its backbone is T5's own."""
    return (*(each for each in names if each[1] != "backbone"), ("language_model.", "backbone", ""))


T5_REPEATS = r"language_model\.(encoder|decoder)\.embed_tokens\."
MULTI_MODAL = "multi_modal_projector."
AUDIO_TOWER = ("audio_tower.", "audio.encoder", "tower.")
INTERNVL = ModelClass(
    "InternVLForConditionalGeneration", internvl_branches, SQUARES,
    (("vision_tower.", "vision.encoder", "tower."), (f"{MULTI_MODAL}layer_norm.", "vision.projector", "project.norm."),
     (f"{MULTI_MODAL}linear_1.", "vision.projector", "project.layers.0."),
     (f"{MULTI_MODAL}linear_2.", "vision.projector", "project.layers.2."), *LANGUAGE), internvl_config,
    {"image_token_id": ("<IMG_CONTEXT>",)}, ALIASES[:3], internvl_fits, template="qwen2p5_instruct")
BLIP_2 = ModelClass(
    "Blip2ForConditionalGeneration", blip_branches, QUERIES,
    (("vision_model.", "vision.encoder", "tower."), *LANGUAGE, *((f"{name}", "vision.projector", name) for name in (
        "query_tokens", "qformer.", "language_projection."))), blip_config, {"image_token_index": IMAGE}, (),
    blip_fits, template="blip_2")
BLIP_2_T5 = replace(BLIP_2, uses={**QUERIES, "backbone": "hf_encoder_decoder"}, names=of_t5(BLIP_2.names), language=T5,
                    repeats=T5_REPEATS)
IDEFICS_NAMES = (
    ("model.vision_model.", "vision.encoder", "tower."),
    ("model.connector.modality_projection.proj.", "vision.projector", "project.layers.0."),
    ("model.text_model.", "backbone", "model."), ("lm_head.", "backbone", "lm_head."))
IDEFICS3, SMOLVLM = (ModelClass(
    f"{name}ForConditionalGeneration", idefics_branches, SQUARES, IDEFICS_NAMES, idefics_config,
    {"image_token_id": IMAGE}, (), tower_is(f"{name.lower()}_vision"), template="idefics3") for name in ("Idefics3", "SmolVLM"))
QWEN2_AUDIO = ModelClass(
    "Qwen2AudioForConditionalGeneration", qwen_branches,
    {"audio.encoder": "hf_audio_tower", "audio.projector": "linear", "backbone": "hf"},
    (AUDIO_TOWER, (f"{MULTI_MODAL}linear.", "audio.projector", "layers.0."), *LANGUAGE), qwen_config,
    {"audio_token_index": ("<|AUDIO|>",)}, AUDIO_ALIASES, template="qwen2p5_instruct")
VOXTRAL = ModelClass(
    "VoxtralForConditionalGeneration", voxtral_branches,
    {"audio.encoder": "hf_audio", "audio.projector": "stack_mlp", "backbone": "hf"},
    (AUDIO_TOWER, (f"{MULTI_MODAL}linear_1.", "audio.projector", "linear1."),
     (f"{MULTI_MODAL}linear_2.", "audio.projector", "linear2."), *LANGUAGE), voxtral_config, {"audio_token_id": ("[AUDIO]",)},
    AUDIO_ALIASES, voxtral_fits, template="mixtral_instruct")
