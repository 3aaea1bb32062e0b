"""LLaMA-Omni's published files as a recipe of ours and as tensors by our parts and names. Writes nothing.

What config.json does not say is read off the tensors' shapes; defaults of the original's code are never relied on.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Mapping
from math import ceil

from omnikit.contracts.types import CheckpointTensors, LazyTensor
from omnikit.errors import RunError
from omnikit.recipe.causal_config import check_plain
from omnikit.recipe.presets import preset_fields
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
from omnikit_llama_omni import names
from omnikit_llama_omni.files import Opened, opened

__all__ = ["opened", "published", "recipe"]

TEMPLATE = "llama_omni"
LLAMA = {"rms_norm_eps": 1e-6, "rope_theta": 10000.0, "max_position_embeddings": 2048}
"""What transformers leaves out of a Llama's config.json (defaults of its LlamaConfig)."""
SPECIALS = ("<|begin_of_text|>", "<|end_of_text|>", "<|finetune_right_pad_id|>", "<|start_header_id|>", "<|end_header_id|>",
            "<|eom_id|>", "<|eot_id|>", "<|python_tag|>")  # of Llama 3's tokenizer
RATES: dict[tuple[int, ...], tuple[int, ...]] = {(11, 8, 8, 4, 4): (5, 4, 4, 2, 2)}
"""Kernels → rates of the published vocoder (asrp's built-in configuration); its shapes give the kernels only."""


def recipe(files: Opened) -> dict[str, object]:
    """Give the model as a recipe's YAML would hold it, without stages; see LlamaOmni.recipe."""
    backbone = _backbone(files)
    tree: dict[str, object] = {
        "audio": {"encoder": _encoder(files), "projector": _projector(files)}, "backbone": backbone,
        "text": {"head": {"use": "lm"}}}
    if speaks(files):
        head = _head(files, backbone)
        tree["speech"] = {"head": head, "codec": _codec(files, _number(files, "unit_vocab_size"))}
    elif files.vocoder is not None:
        raise RunError(f"{files.vocoder_source} is given, but {files.folder} has no speech generator whose units it could"
                       " speak; leave the vocoder out.")
    tree["generate"] = {"max_new_tokens": 256}  # of the original's script
    asked = {"template": files.template} if files.template else {}  # by --template, which wins
    return with_additions(tree, files.config, files.config_file, {"tokenizer": str(files.tokenizer), **asked})


def published(files: Opened) -> CheckpointTensors:
    """Give the tensors by our parts and names; see LlamaOmni.open."""
    tensors: dict[str, dict[str, LazyTensor]] = defaultdict(dict)
    ignored: dict[str, list[LazyTensor]] = defaultdict(list)
    tensors["audio.encoder"] |= files.encoder.tensors
    ignored["audio.encoder"] += files.encoder.ignored
    tied = is_tied(files.config, files.config_file, files.model)
    inside = not any(tensor.name.startswith(names.ENCODER) for tensor in files.encoder.tensors.values())
    for name, tensor in files.model.items():
        part, own = names.of_checkpoint(name) or ("other", name)
        if part == "audio.encoder":
            ignored[part] += [tensor] if inside else []
        elif name.endswith("rotary_emb.inv_freq") or (name == HEAD and tied and TABLE in files.model):
            ignored[part].append(tensor)  # computed, or the embedding table again
        else:
            tensors[part][TABLE if name == HEAD and tied else own] = tensor
    tensors["speech.codec"] |= files.vocoder or {}
    for part, own, tensor in split_extras(files.extras):
        tensors[part][own] = tensor
    sources = {"audio.encoder": files.encoder.source, "speech.codec": files.vocoder_source}
    sources |= {part: str(files.folder) for part in ("audio.projector", "backbone", "speech.head")}
    return CheckpointTensors(dict(tensors), dict(ignored), lambda part, name: _original(files, part, name), sources)


def speaks(files: Opened) -> bool:
    """Say whether a checkpoint has a speech generator: by its config or by its tensors."""
    return bool(files.config.get("ctc_decoder_config")) or any("speech_generator." in name for name in files.model)


def _original(files: Opened, part: str, name: str) -> str:
    if part == "audio.encoder":
        return files.encoder.original(name)
    return names.to_checkpoint(part, name)


def _encoder(files: Opened) -> dict[str, object]:
    sizes, first = files.encoder.sizes, files.encoder.tensors.get("layers.0.fc1.weight")
    positions, dim = sizes["n_audio_ctx"], sizes["n_audio_state"]
    seconds = positions / 50  # 20 ms for each
    if ceil(seconds * 16000 / 320) != positions:  # as the encoder counts; a rounding error must not add a vector
        seconds = (positions - 0.5) / 50
    return preset_fields("encoder", "whisper_large_v3") | {
        "dim": dim, "layers": sizes["n_audio_layer"], "heads": sizes["n_audio_head"], "mel_bins": sizes["n_mels"],
        "ffn": first.shape[0] if first else 4 * dim, "positions": positions, "seconds": seconds}


def _projector(files: Opened) -> dict[str, object]:
    _only(files, "speech_projector_type", "linear")
    first = files.model.get(f"{names.PROJECTOR}linear1.weight")
    hidden = {"hidden": first.shape[0]} if first else {}  # 2048 in the original's code
    stride = _number(files, "speech_encoder_ds_rate")
    # the original drops the tail, whatever its length
    uneven = {"uneven": True} if stride > 0 and files.encoder.sizes["n_audio_ctx"] % stride else {}
    return preset_fields("projector", "stack_mlp_5x2048") | {"stride": stride} | uneven | hidden


def _backbone(files: Opened) -> dict[str, object]:
    model_type, table = str(files.config.get("model_type")), files.model.get("model.embed_tokens.weight")
    if "llama" not in model_type:
        raise RunError(f"{files.config_file} has model_type {model_type!r}, but layout llama_omni holds a Llama"
                       " (omni_speech2s_llama).")
    _only(files, "hidden_act", "silu")
    rope = _rope(files)
    check_plain(files.config, str(files.config_file))
    dim, heads = _number(files, "hidden_size"), _number(files, "num_attention_heads")
    if files.config.get("head_dim") not in (None, dim // heads):
        raise RunError(f"{files.config_file} has head_dim {files.config['head_dim']}, but backbone hf has heads of"
                       f" hidden_size / num_attention_heads ({dim // heads}); such a language model cannot be imported.")
    language = {name: tensor for name, tensor in files.model.items() if (names.of_checkpoint(name) or "?")[0] == "backbone"}
    settings = {key: files.config.get(key, default) for key, default in LLAMA.items()}
    return preset_fields("backbone", "llama_3_1_8b_omni") | rope | {
        "dim": dim, "layers": _number(files, "num_hidden_layers"), "heads": heads,
        "kv_heads": files.config.get("num_key_value_heads") or heads, "ffn": _number(files, "intermediate_size"),
        "vocabulary": table.shape[0] if table else _number(files, "vocab_size"), "context": settings["max_position_embeddings"],
        "rms_eps": settings["rms_norm_eps"], "tie_embeddings": is_tied(files.config, files.config_file, files.model),
        "dtype": common_dtype(language), "tokenizer": str(files.tokenizer),
        "ends": end_ids(files.config, files.config_file), "template": files.template or TEMPLATE,
        "specials": special_tokens(files.tokenizer, SPECIALS)}


def _rope(files: Opened) -> dict[str, object]:
    """Give rotary settings by our names; the newer transformers keeps them all in `rope_parameters`."""
    found = files.config.get("rope_parameters") or files.config.get("rope_scaling") or {}
    scaling = found if isinstance(found, Mapping) else {}
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind not in ("default", "llama3"):
        raise RunError(f"{files.config_file} has rotary positions of type {kind!r}, but backbone hf has default and"
                       " llama3.")
    base = scaling.get("rope_theta", files.config.get("rope_theta", LLAMA["rope_theta"]))
    theta: dict[str, object] = {"rope_theta": float(str(base))}
    if kind == "default":
        return theta | {"rope_factor": None}
    try:
        return theta | {"rope_factor": float(scaling["factor"]), "rope_low": float(scaling["low_freq_factor"]),
                        "rope_high": float(scaling["high_freq_factor"]),
                        "rope_original": int(scaling["original_max_position_embeddings"])}
    except (KeyError, ValueError, TypeError) as error:
        raise RunError(f"{files.config_file} has llama3 rotary positions without all of factor, low_freq_factor,"
                       " high_freq_factor and original_max_position_embeddings; copy it again.") from error


def _head(files: Opened, backbone: Mapping[str, object]) -> dict[str, object]:
    """Give the unit head; its rotary positions and norms are inherited from the language model (only its width is its own)."""
    _only(files, "speech_generator_type", "ctc")
    text = files.config.get("ctc_decoder_config")
    try:
        layers, dim, heads, ffn = (int(n) for n in (ast.literal_eval(text) if isinstance(text, str) else text))  # type: ignore[union-attr]  # whatever JSON holds
    except (ValueError, SyntaxError, TypeError) as error:
        raise RunError(f"{files.config_file} has ctc_decoder_config {text!r}, but it must be four numbers (layers,"
                       " width, heads, feed-forward width), for example (2,4096,32,11008).") from error
    inherited = {key: value for key, value in backbone.items() if key.startswith("rope_") or key == "rms_eps"}
    return preset_fields("head", "ctc_units_425m") | inherited | {
        "layers": layers, "dim": dim, "heads": heads, "ffn": ffn, "factor": _number(files, "ctc_upsample_factor")}


def _codec(files: Opened, units: int) -> dict[str, object]:
    """Give the vocoder's sizes: from its config.json, else off its shapes; without a file the published sizes."""
    codec = preset_fields("codec", "unit_hifigan_1000") | {"units": units}
    if files.vocoder is None:
        return codec
    shapes = {name: tensor.shape for name, tensor in files.vocoder.items()}
    weight, facts = "parametrizations.weight.original1", files.vocoder_config
    try:
        ups = len({name.split(".")[1] for name in shapes if name.startswith("ups.")})
        blocks = len({name.split(".")[1] for name in shapes if name.startswith("resblocks.")}) // max(1, ups)
        kernels = tuple(shapes[f"ups.{i}.{weight}"][2] for i in range(ups))
        codec |= {"units": shapes["dict.weight"][0], "dim": shapes["dict.weight"][1], "kernels": list(kernels),
                  "channels": shapes[f"conv_pre.{weight}"][0],
                  "duration_dim": shapes.get("dur_predictor.conv1.0.weight", (None,))[0],
                  "block_kernels": [shapes[f"resblocks.{i}.convs1.0.{weight}"][2] for i in range(blocks)]}
    except (KeyError, IndexError) as error:
        raise RunError(f"{files.vocoder_source} is not a unit vocoder: {error} is not in it; give the file g_00500000 of a"
                       " CodeHiFiGAN.") from error
    if "spkr.bias" in shapes:
        raise RunError(f"{files.vocoder_source} takes the embedding of a speaker encoder (embedder_params of its config.json),"
                       " but codec unit_hifigan has speakers by number alone; give a vocoder with a table of speakers.")
    if "spkr.weight" in shapes:
        codec["speakers"] = shapes["spkr.weight"][0]
    rates = facts.get("upsample_rates", RATES.get(kernels))
    if rates is None:
        raise RunError(f"{files.vocoder_source} upsamples with kernels {list(kernels)}, which do not determine the rates; put"
                       " its config.json beside it.")
    return codec | {"rates": rates, "sample_rate": facts.get("sampling_rate", 16000)} | _dilations(facts)


def _dilations(facts: Mapping[str, object]) -> dict[str, object]:
    found = facts.get("resblock_dilation_sizes")
    if not isinstance(found, list) or not found:
        return {}
    return {"dilations": found[0]} if all(each == found[0] for each in found) else {"block_dilations": found}


def _only(files: Opened, key: str, word: str) -> None:
    if files.config.get(key, word) != word:
        raise RunError(f"{files.config_file} has {key} {files.config[key]!r}, but layout llama_omni has"
                       f" {word!r} only.")


def _number(files: Opened, key: str) -> int:
    return integer_of(files.config, key, files.config_file)
