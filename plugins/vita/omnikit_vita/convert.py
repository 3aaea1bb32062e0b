"""VITA's published files as a recipe of ours and as tensors by our parts and names. Writes nothing.

What the files' settings do not say is read off the tensors' shapes; defaults of the original's code are never relied on.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from math import isqrt

from omnikit.contracts.types import CheckpointTensors, LazyTensor
from omnikit.errors import RunError
from omnikit.recipe.causal_config import check_plain
from omnikit.store.layouts import (
    HEAD,
    TABLE,
    common_dtype,
    end_ids,
    integer_of,
    is_tied,
    special_tokens,
    split_extras,
    with_additions,
)
from omnikit_vita import audio_settings, experts, names, speech_files
from omnikit_vita.files import Opened

FAMILIES = {"qwen2": ("qwen2", "qwen2p5_vita", 1e-6), "mixtral": ("mixtral", "mixtral_two", 1e-5),
            "nemo": ("mistral", "nemo", 1e-5), "mistral": ("mistral", "nemo", 1e-5)}
"""Word in model_type → architecture, template, transformers' default of rms_norm_eps."""
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<unk>", "<s>", "</s>", "[INST]", "[/INST]")


def recipe(files: Opened) -> dict[str, object]:
    """Give the model as a recipe's YAML would hold it, without stages; see Vita.recipe."""
    parts = {name for name in map(names.of_checkpoint, files.model) if name}
    has = {part for part, _ in parts}
    tree: dict[str, object] = {}
    if has & {"vision.encoder", "vision.projector"}:
        tree["vision"] = {"encoder": _vision(files), "projector": _projector(files)}
    if files.audio:
        tree["audio"] = {"encoder": _audio(files), "projector": _adapter(files)}
    tree |= {"backbone": _backbone(files), "text": {"head": {"use": "lm"}}}
    head = files.model.get(f"{names.STATE}bias")
    if head:
        classes = head.shape[0] - 1
        weights = {} if classes == 2 else {"classes": classes, "weights": [1.0] * head.shape[0]}
        tree["turn"] = {"head": {"use": "state", **weights}}
    if files.speech:
        tree["speech"] = speech_files.recipe(files.speech)
    tree["generate"] = {"max_new_tokens": 1024}  # of the original's script
    asked = {"template": files.template} if files.template else {}  # by --template, which wins
    return with_additions(tree, files.config, files.config_file, {"tokenizer": str(files.tokenizer), **asked})


def published(files: Opened) -> CheckpointTensors:
    """Give the tensors by our parts and names; see Vita.open."""
    tensors: dict[str, dict[str, LazyTensor]] = defaultdict(dict)
    ignored: dict[str, list[LazyTensor]] = defaultdict(list)
    fused, used = experts.joined(files.model)
    tensors["backbone"] |= fused
    depth, tied = _depth(files), is_tied(files.config, files.config_file, files.model)
    for name, tensor in files.model.items():
        part, own = names.of_checkpoint(name) or ("other", name)
        layer = re.match(r"encoder\.layers\.(\d+)\.", own) if part == "vision.encoder" else None
        if name.endswith("rotary_emb.inv_freq") or (name == HEAD and tied and TABLE in files.model):
            ignored[part].append(tensor)  # computed, or the embedding table again
        elif layer and int(layer[1]) >= depth:
            ignored[part].append(tensor)  # behind the layer whose output is taken
        elif name not in used:
            tensors[part][TABLE if name == HEAD and tied else own] = tensor
    if files.statistics:
        tensors["audio.encoder"] |= files.statistics
    if files.speech:
        spoken, unused = speech_files.tensors(files.speech)
        tensors |= spoken
        ignored |= unused
    for part, own, tensor in split_extras(files.extras):
        tensors[part][own] = tensor
    sources = dict.fromkeys(("vision.encoder", "vision.projector", "backbone", "turn.head"), str(files.config_file.parent))
    sources |= dict.fromkeys(("audio.encoder", "audio.projector"), f"{files.config_file.parent} and {files.train_yaml.parent}")
    sources |= dict.fromkeys(("speech.head", "speech.codec"), str(files.speech or files.config_file.parent / speech_files.HOME))
    return CheckpointTensors(dict(tensors), dict(ignored), _original, sources)


def _original(part: str, name: str) -> str:
    if part.startswith("speech."):
        return speech_files.original(part, name)
    return names.to_checkpoint(part, experts.original(name))


def _vision(files: Opened) -> dict[str, object]:
    """Give InternViT's settings off its shapes; heads, which no shape gives, from its config.json, else as published."""
    tower = {name.removeprefix(names.VISION): tensor.shape for name, tensor in files.model.items()
             if name.startswith(names.VISION)}
    try:
        dim, patch = tower["embeddings.patch_embedding.weight"][0], tower["embeddings.patch_embedding.weight"][2]
        ffn, positions = tower["encoder.layers.0.mlp.fc1.weight"][0], tower["embeddings.position_embedding"][1]
    except LookupError as error:
        raise RunError(f"{files.config_file.parent} has a vision projector but no {names.VISION}{error.args[0]}; give"
                       " InternViT's folder with --vision.") from error
    qk_norm = "encoder.layers.0.attn.q_norm.weight" in tower
    heads = files.vision.get("num_attention_heads", dim // (128 if qk_norm else 64))  # as wide as in 6B and 300M
    return {"use": "internvit", "size": isqrt(positions - 1) * patch, "patch": patch, "dim": dim, "layers": _layers(files),
            "heads": heads, "ffn": ffn, "qk_norm": qk_norm, "qkv_bias": "encoder.layers.0.attn.qkv.bias" in tower,
            "norm": "layer" if "encoder.layers.0.norm1.bias" in tower else "rms",
            "eps": files.vision.get("layer_norm_eps", 1e-6), "layer": _select(files)}


def _layers(files: Opened) -> int:
    layers = f"{names.VISION}encoder.layers."
    return len({name.removeprefix(layers).partition(".")[0] for name in files.model if name.startswith(layers)})


def _select(files: Opened) -> int:
    found = files.config.get("mm_vision_select_layer", -1)
    if not isinstance(found, int) or isinstance(found, bool):
        raise RunError(f"{files.config_file} has mm_vision_select_layer {found!r}, but it must be a whole number; write it"
                       " there.")
    return found


def _depth(files: Opened) -> int:
    select = _select(files)
    return select if select > 0 else _layers(files) + 1 + select


def _projector(files: Opened) -> dict[str, object]:
    """Give the vision projector by config.json's word for it: mlp2x_gelu, linear."""
    kind = str(files.config.get("mm_projector_type", "mlp2x_gelu"))
    found = re.fullmatch(r"mlp(\d+)x_gelu", kind)
    if kind == "linear" or (found and found[1] == "1"):
        return {"use": "linear"}
    if not found:
        raise RunError(f"{files.config_file} has mm_projector_type {kind!r}, but layout vita has linear and mlp<N>x_gelu only.")
    return {"use": "mlp", "hidden": 0, "depth": int(found[1])}


def _audio(files: Opened) -> dict[str, object]:
    part = {name.removeprefix(names.AUDIO_ENCODER): tensor.shape for name, tensor in files.model.items()}
    try:
        channels, layer = part["enc.0.core.conv.0.weight"][0], "enc.1.encoders.0."
        sizes = {"dim": part["enc.0.core.out.0.weight"][0], "ffn": part[f"{layer}feed_forward.w_1.weight"][0],
                 "heads": _heads(files, part), "channels": channels}
    except LookupError as error:
        raise RunError(f"{files.config_file.parent} and {files.train_yaml.parent} lack {names.AUDIO_ENCODER}{error.args[0]};"
                       " give the folder with final.pt with --audio.") from error
    layers = {name.split(".")[3] for name in part if name.startswith("enc.1.encoders.")}
    bins = _bins(files, part)
    audio_settings.compare(files.audio, files.train_yaml, {
        "encoder_input_dim": bins, "subsampling_input_dim": bins, "transformer_attention_dim": sizes["dim"],
        "transformer_linear_units": sizes["ffn"], "transformer_attention_heads": sizes["heads"],
        "transformer_num_blocks": len(layers), "enc_out_dim": sizes["dim"]})
    return {"use": "mel_cnn", **sizes, "layers": len(layers), "mel_bins": bins, "scale": 32768.0, "normalisation": "fixed",
            "embed": "enc.1.embed.0.weight" in part,
            "concat": f"{layer}concat_linear.weight" in part, **audio_settings.encoder(files.audio)}


def _heads(files: Opened, part: Mapping[str, tuple[int, ...]]) -> object:
    """Give the heads: as many as a relative position's bias has, else those of train.yaml, which alone has them."""
    bias = part.get("enc.1.encoders.0.self_attn.pos_bias_u")
    heads = bias[0] if bias else files.audio.get("transformer_attention_heads")
    if heads is None:
        raise RunError(f"{files.train_yaml} lacks transformer-attention-heads, which no tensor gives without relative"
                       " positions; copy it again.")
    return heads


def _bins(files: Opened, part: Mapping[str, tuple[int, ...]]) -> object:
    """Give the mel bins: as many as the statistics have, else those of train.yaml."""
    mean = files.statistics.get("normalisation.mean")
    shape = part.get("global_cmvn.mean", mean.shape if mean else ())
    return shape[0] if shape else files.audio.get("num_mel_bins", files.audio.get("subsampling_input_dim", 80))


def _adapter(files: Opened) -> dict[str, object]:
    conv, prompts = files.model.get(f"{names.ADAPTER}conv1d2.weight"), files.model.get(names.PROMPTS)
    shape = conv.shape if conv else (2048, 0, files.audio.get("kernel_size", 5))  # as published
    audio_settings.compare(files.audio, files.train_yaml, {"kernel_size": shape[2]})
    audio_settings.check_prompts(files.audio, files.train_yaml, prompts.shape[0] if prompts else 0)
    return {"use": "strided_conv", "kernel": shape[2], "stride": 2, "hidden": shape[0], "causal": False,
            **audio_settings.adapter(files.audio, files.train_yaml), **({"prompts": prompts.shape[0]} if prompts else {})}


def _backbone(files: Opened) -> dict[str, object]:
    config = files.config
    word = next((word for word in FAMILIES if word in str(config.get("model_type")).lower()), None)
    if word is None:
        raise RunError(f"{files.config_file} has model_type {config.get('model_type')!r}, but layout vita holds vita-Qwen2,"
                       " vita-mixtral or a Mistral-Nemo.")
    model_type, template, eps = FAMILIES[word]
    theta = _theta(files)
    check_plain(files.config, str(files.config_file))
    dim, heads, table = _number(files, "hidden_size"), _number(files, "num_attention_heads"), _table(files)
    if config.get("head_dim") not in (None, dim // heads):
        raise RunError(f"{files.config_file} has head_dim {config['head_dim']}, but backbone hf has heads of hidden_size /"
                       f" num_attention_heads ({dim // heads}); such a language model cannot be imported.")
    moe = {"experts": _number(files, "num_local_experts"), "experts_per_token": config.get("num_experts_per_tok", 2)} if (
        model_type == "mixtral") else {}
    language = {name: tensor for name, tensor in files.model.items() if (names.of_checkpoint(name) or "?")[0] == "backbone"}
    return {"use": "hf", "model_type": model_type, "dim": dim, "layers": _number(files, "num_hidden_layers"), "heads": heads,
            "kv_heads": config.get("num_key_value_heads") or heads, "ffn": _number(files, "intermediate_size"),
            "vocabulary": table, "context": config.get("max_position_embeddings", 32768),
            "rms_eps": config.get("rms_norm_eps", eps), "rope_theta": theta,
            "tie_embeddings": is_tied(config, files.config_file, files.model), "dtype": common_dtype(language),
            **moe, "template": files.template or template, "tokenizer": str(files.tokenizer),
            "specials": special_tokens(files.tokenizer, SPECIALS), "ends": end_ids(files.config, files.config_file)}


def _table(files: Opened) -> int:
    """Give the rows of the embedding table, whatever the tokenizer's length: VITA-1.5 has 152 064 rows for 151 665 tokens."""
    table = files.model.get("model.embed_tokens.weight")
    return table.shape[0] if table else _number(files, "vocab_size")


def _theta(files: Opened) -> object:
    found = files.config.get("rope_parameters") or files.config.get("rope_scaling") or {}
    scaling = found if isinstance(found, Mapping) else {}
    if scaling.get("rope_type", scaling.get("type", "default")) != "default":
        raise RunError(f"{files.config_file} has scaled rotary positions {dict(scaling)}, but layout vita has default"
                       " ones only.")
    return scaling.get("rope_theta", files.config.get("rope_theta", 1000000.0))


def _number(files: Opened, key: str) -> int:
    return integer_of(files.config, key, files.config_file)
