"""A model of ours in VITA's published files. What that layout cannot express goes into config.json under one key of ours and
into a file of its own; a model that the layout can express completely gets neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path

import torch

from omnikit.contracts.configs import Describe, ModelDescription
from omnikit.contracts.types import LazyTensor
from omnikit.errors import OmnikitError, RunError
from omnikit.recipe.schema import plain
from omnikit.store.layouts import additions, part_settings, write_config, write_extras, write_json
from omnikit.store.shards import save_shards
from omnikit_vita import experts, names, speech_files
from omnikit_vita.audio_settings import POSITIONS
from omnikit_vita.convert import recipe
from omnikit_vita.files import opened
from omnikit_vita.layout import Vita

HOLDS = {"vision.encoder": ("internvit",), "vision.projector": ("mlp", "linear"), "audio.encoder": ("mel_cnn",),
         "audio.projector": ("strided_conv",), "backbone": ("hf",), "turn.head": ("state",),
         "speech.head": ("nar_ar",), "speech.codec": ("ticodec",)}
TYPES = {"qwen2": ("vita-Qwen2", "VITAQwen2ForCausalLM"), "mixtral": ("vita-mixtral", "VITAMixtralForCausalLM"),
         "mistral": ("vita-nemo", "VITAMistralForCausalLM")}
FILES = ("weights", "cmvn")  # fields of parts that name files whose tensors are in the model by now
AUDIO, VISION = "audio-encoder", "InternViT"
Named = Mapping[str, LazyTensor]


def write(model: ModelDescription, tensors: Mapping[str, Named], folder: Path, describe: Describe) -> None:
    """Write a model's files into a folder that holds its tokenizer already.

    Raises:
        RunError: the language model is missing or of a kind that the layout does not hold.
    """
    parts = _held(model)
    held: dict[str, LazyTensor] = {}
    extras: dict[str, LazyTensor] = {}
    if "speech.head" in parts:
        speech_files.write(model.parts, tensors, folder / speech_files.HOME)
    for part, named in tensors.items():
        alone = part == "vision.projector" and not any(name.startswith("layers.2.") for name in named)
        for name, tensor in (experts.apart(named) if part == "backbone" else named).items():
            if part in parts and part.startswith("speech."):
                continue
            if part in parts:
                held[names.linear(names.to_checkpoint(part, name), alone)] = tensor
            else:
                extras[f"{part}.{name}"] = tensor
    save_shards(held, folder)
    if "audio.encoder" in parts:
        _write_audio(model, held, folder / AUDIO)
    if "vision.encoder" in parts:
        (folder / VISION).mkdir()
        write_json(folder / VISION / "config.json", _vision(plain(model.parts["vision.encoder"])))
    write_extras(extras, folder)
    write_config(_config(model, parts), folder, lambda: _additions(model, folder, describe))


def _held(model: ModelDescription) -> list[str]:
    """Give the parts that the layout's own files hold: an encoder only with its projector, and the other way round."""
    used = model.uses
    family = getattr(model.parts.get("backbone"), "model_type", None)
    if used.get("backbone") not in HOLDS["backbone"] or family not in TYPES:
        raise RunError(f"backbone of this run is {used.get('backbone', 'missing')} ({family}), but layout vita holds hf with"
                       f" model_type {', '.join(TYPES)}; such a model cannot be exported in it.")
    fit = [part for part, uses in HOLDS.items() if used.get(part) in uses]
    fit = [part for part in fit if part != "audio.encoder" or _is_whale(model)]
    fit = [part for part in fit if not part.startswith("vision.") or _is_plain(model, part)]
    fit = [part for part in fit if not part.startswith("speech.") or speech_files.holds(*_speech(model))]
    pairs = {f"{branch}.{slot}": f"{branch}.{other}" for branch in ("vision", "audio")
             for slot, other in (("encoder", "projector"), ("projector", "encoder"))}
    pairs |= {"speech.head": "speech.codec", "speech.codec": "speech.head"}
    return [part for part in fit if pairs.get(part, part) in fit]


def _speech(model: ModelDescription) -> tuple[object, object]:
    return model.parts.get("speech.head"), model.parts.get("speech.codec")


def _is_whale(model: ModelDescription) -> bool:
    """Whether an audio encoder is one that the layout has: positions of a published class, fixed statistics."""
    facts = plain(model.parts["audio.encoder"])
    return bool(facts["positions"] in POSITIONS.values() and facts["normalisation"] == "fixed" and facts["embed"])


def _is_plain(model: ModelDescription, part: str) -> bool:
    """Whether a vision part has the published one's tensors and no more: patches without a stem, Linears without a norm."""
    facts = plain(model.parts[part])
    return facts.get("stem", ()) in ((), []) and facts.get("norm") is not True


def _write_audio(model: ModelDescription, tensors: Named, folder: Path) -> None:
    """Write the audio encoder's folder: train.yaml, statistics, and its tensors once more, as the original needs them."""
    import yaml

    folder.mkdir()
    inside = {name.removeprefix(names.AUDIO): tensor.read() for name, tensor in tensors.items() if name.startswith(names.AUDIO)}
    torch.save(inside, folder / "final.pt")
    mean, istd = (inside[f"encoder.global_cmvn.{name}"].double() for name in ("mean", "istd"))
    squares = istd.pow(-2) + mean.square()  # sums over one frame
    write_json(folder / "global_cmvn", {"mean_stat": mean.tolist(), "var_stat": squares.tolist(), "frame_num": 1})
    settings = _train_yaml(plain(model.parts["audio.encoder"]), plain(model.parts["audio.projector"]), model)
    (folder / "train.yaml").write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")


def _train_yaml(encoder: Mapping[str, object], projector: Mapping[str, object], model: ModelDescription) -> dict[str, object]:
    dim, bins = encoder["dim"], encoder["mel_bins"]
    transformer = {"input-dim": dim, "output-dim": dim, "attention-dim": dim, "attention-heads": encoder["heads"],
                   "linear-units": encoder["ffn"], "num-blocks": encoder["layers"], "dropout-rate": encoder["dropout"],
                   "attention-dropout-rate": 0.0, "positional-dropout-rate": encoder["dropout"], "input-layer": "linear",
                   "pos-enc-class": {ours: name for name, ours in POSITIONS.items()}[str(encoder["positions"])],
                   "normalize-before": True, "concat-after": encoder["concat"],
                   "positionwise-layer-type": "linear", "chunk_size": encoder["chunk_size"] or -1,
                   "left_chunks": -1 if encoder["left_chunks"] is None else encoder["left_chunks"],
                   "dynamic-chunks": encoder["dynamic"] != "never"}
    subsampling = {"rate": 4, "input-dim": bins, "output-dim": dim, "dropout-rate": encoder["dropout"]}
    prompts = projector["prompts"] or None
    return {
        "input_dim": bins, "output_dim": dim, "is_json_cmvn": True, "cmvn_file": "global_cmvn",
        "encoder_conf": {
            "overview_conf": {"encoder-input-dim": bins, "encoder-output-dim": dim,
                              "encoder-layer-config": "subsampling-transformer"},
            "para_conf": {"subsampling": {f"subsampling-{key}": value for key, value in subsampling.items()},
                          "transformer": {f"transformer-{key}": value for key, value in transformer.items()}}},
        "model_conf": {"enc_out_dim": dim, "llm_embed_dim": model.parts["backbone"].dim,
                       "kernel_size": projector["kernel"], "adpter_type": "subsampling", "add_audio_bos_eos": False,
                       "activation_func": projector["activation"], "norm": projector["norm"], "freeze_encoder": True,
                       "freeze_adpter": False, "audio_prompt_finetune": prompts is not None, "audio_prompt_num": prompts},
        "dataset_conf": {"resample_conf": {"resample_rate": 16000},
                         "fbank_conf": {"num_mel_bins": bins, "frame_length": encoder["frame_length_ms"],
                                        "frame_shift": encoder["frame_shift_ms"], "dither": encoder["dither"]}}}


def _vision(facts: Mapping[str, object]) -> dict[str, object]:
    """Give InternViT's config.json with its original keys; layers behind the chosen one are not in the model."""
    layers, layer = int(str(facts["layers"])), int(str(facts["layer"]))
    depth = layer if layer > 0 else layers + 1 + layer
    return {"architectures": ["InternVisionModel"], "model_type": "intern_vit_6b", "hidden_size": facts["dim"],
            "image_size": facts["size"], "patch_size": facts["patch"], "num_hidden_layers": depth,
            "num_attention_heads": facts["heads"], "intermediate_size": facts["ffn"], "qkv_bias": facts["qkv_bias"],
            "qk_normalization": facts["qk_norm"], "norm_type": "layer_norm" if facts["norm"] == "layer" else "rms_norm",
            "layer_norm_eps": facts["eps"], "hidden_act": "gelu", "drop_path_rate": facts["drop_path"],
            "initializer_factor": facts["layer_scale"], "torch_dtype": "bfloat16"}


def _config(model: ModelDescription, parts: list[str]) -> dict[str, object]:
    """Give config.json with the original's keys: of a language model, and its own."""
    llm, own = plain(model.parts.get("backbone")), {part: plain(model.parts[part]) for part in parts}
    model_type, architecture = TYPES[llm["model_type"]]
    ends = list(llm["ends"])
    config: dict[str, object] = {
        "architectures": [architecture], "model_type": model_type, "hidden_size": llm["dim"],
        "num_hidden_layers": llm["layers"], "num_attention_heads": llm["heads"], "num_key_value_heads": llm["kv_heads"],
        "intermediate_size": llm["ffn"], "vocab_size": llm["vocabulary"], "max_position_embeddings": llm["context"],
        "rms_norm_eps": llm["rms_eps"], "rope_theta": llm["rope_theta"], "tie_word_embeddings": llm["tie_embeddings"],
        "torch_dtype": llm["dtype"], "hidden_act": "silu", "attention_dropout": 0.0, "use_cache": True,
        "eos_token_id": ends[0] if len(ends) == 1 else ends or None, "tokenizer_padding_side": "right",
        "tokenizer_model_max_length": 9100 if model_type == "vita-mixtral" else 6200, "image_aspect_ratio": "square"}
    if llm["experts"]:
        config |= {"num_local_experts": llm["experts"], "num_experts_per_tok": llm["experts_per_token"]}
    if "vision.encoder" in parts:
        tower, depth = own["vision.encoder"], own["vision.projector"].get("depth")
        config |= {"mm_vision_tower": VISION, "mm_hidden_size": 4 * tower["dim"], "mm_vision_select_layer": -1,
                   "mm_projector_type": f"mlp{depth}x_gelu" if depth else "linear", "unfreeze_vision_tower": False}
    if "audio.encoder" in parts:
        config |= {"mm_audio_encoder": AUDIO, "freeze_audio_encoder": True, "freeze_audio_encoder_adapter": False}
    return config


def _additions(model: ModelDescription, folder: Path, describe: Describe) -> dict[str, object]:
    """Give what the files as they are would be read wrongly without."""
    own = part_settings(model, FILES)
    try:
        tree = recipe(opened(Vita(str(folder))))
        read = describe(deepcopy(tree))
    except OmnikitError:  # a part is not in the layout's files at all
        return {"parts": own, "keys": model.settings}
    theirs = part_settings(read, FILES)
    if not own.get("speech.codec", {}).get("voice", True) and "speech.codec" in theirs:
        own["speech.codec"]["voice"] = theirs["speech.codec"]["voice"]  # trained, but a setting in the layout
    return additions(own, theirs, model, read, tree)
