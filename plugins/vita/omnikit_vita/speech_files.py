"""VITA-1.5's speech: the folders `decoder` and `codec`, read and written. Uses no module, only names and shapes.

Source: the files of VITA-MLLM/VITA-1.5's vita_tts_ckpt, by their keys, names and shapes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch

from omnikit.contracts.types import LazyTensor
from omnikit.errors import RunError
from omnikit.store.layouts import to_legacy_weight_norm
from omnikit.store.tensors import mapping, torch_file
from omnikit_vita import ticodec_files
from omnikit_vita.nar_ar import NarAr
from omnikit_vita.ticodec import TiCodec

HOME = "vita_tts_ckpt"
DECODER, CODEC = "decoder", "codec"
PREFIX = "layers_prefix."  # layers of Freeze-Omni's way, which VITA-1.5 never runs
Named = Mapping[str, LazyTensor]


def recipe(folder: Path) -> dict[str, object]:
    """Give the branch `speech` as a recipe's YAML would hold it.

    Raises:
        RunError: a file is missing, unreadable or lacks what nothing else states.
    """
    return {"head": _head(folder / DECODER), "codec": {
        "use": "ticodec", **ticodec_files.settings(folder / CODEC, ticodec_files.stored(folder / CODEC)[0])},
        "normaliser": {"use": "vita_text"}}


def tensors(folder: Path) -> tuple[dict[str, dict[str, LazyTensor]], dict[str, list[LazyTensor]]]:
    """Give part → our name → tensor, and part → the tensors that the original does not use either."""
    codec, unused = ticodec_files.stored(folder / CODEC)
    file = folder / DECODER / ticodec_files.WEIGHTS
    whole = torch_file(file)
    inner = whole.get("model") if isinstance(whole, Mapping) else None
    found = mapping(inner if isinstance(inner, Mapping) else whole, file)
    ignored = [tensor for name, tensor in found.items() if _is_ignored(name)]
    head = {name: tensor for name, tensor in found.items() if not _is_ignored(name)}
    return {"speech.head": head, "speech.codec": codec}, {"speech.head": ignored, "speech.codec": unused}


def original(part: str, name: str) -> str:
    """Give the published name of a tensor of ours."""
    return to_legacy_weight_norm(name) if part == "speech.codec" else name


def holds(head: object, codec: object) -> bool:
    """Whether the layout can express such a head and codec."""
    return isinstance(head, NarAr) and isinstance(codec, TiCodec) and \
        not (head.prefix or head.normalize_embeddings or head.text_position_stride) and ticodec_files.holds(codec)


def write(parts: Mapping[str, object], named: Mapping[str, Named], folder: Path) -> None:
    """Write both folders of the parts speech.head and speech.codec, which the layout `holds`."""
    head, codec = cast(NarAr, parts["speech.head"]), cast(TiCodec, parts["speech.codec"])
    ticodec_files.write(codec, named["speech.codec"], folder / CODEC)
    (folder / DECODER).mkdir(parents=True, exist_ok=True)
    inside = {name: tensor.read().contiguous().clone() for name, tensor in named["speech.head"].items()}
    torch.save(inside, folder / DECODER / ticodec_files.WEIGHTS)
    settings = {
        "idim": head.dim, "odim": codec.codes, "encoder_pre_norm_type": "ln", "encoder_drop_rate": 0.0,
        "encoder_criterion": "ce", "encoder_upsample_rate": 1, "kv_cache_prefix_finetune": 0,
        "transformer_attention_dim": head.dim, "transformer_linear_units": head.ffn, "transformer_num_blocks": head.layers,
        "transformer_attention_heads": head.heads, "transformer_dropout_rate": 0.1, "encoder_output_dim": head.dim}
    text = json.dumps([head.dim, codec.codes, settings], indent=2) + "\n"
    (folder / DECODER / ticodec_files.SETTINGS).write_text(text, encoding="utf-8")


def _head(folder: Path) -> dict[str, object]:
    """Give the head's settings; model.json is a list: width, codes, and the rest by name."""
    path = folder / ticodec_files.SETTINGS
    try:
        _, codes, settings = json.loads(path.read_text(encoding="utf-8"))
        sizes = {"dim": settings["transformer_attention_dim"], "layers": settings["transformer_num_blocks"],
                 "heads": settings["transformer_attention_heads"], "ffn": settings["transformer_linear_units"]}
    except OSError as error:
        raise RunError(f"{path} is missing; give the folder that holds {DECODER} and {CODEC} with --speech.") from error
    except (ValueError, LookupError, TypeError) as error:
        raise RunError(f"{path} is not a speech decoder's: it must be a list of width, codes and settings with"
                       " transformer_attention_dim, _num_blocks, _attention_heads and _linear_units; copy it again.") from error
    if settings.get("idim", sizes["dim"]) != sizes["dim"]:
        raise RunError(f"{path} has idim {settings['idim']} and transformer_attention_dim {sizes['dim']}, but head nar_ar needs"
                       " both the same; such a decoder cannot be imported.")
    return {"use": "nar_ar", **sizes, "cardinality": codes}


def _is_ignored(name: str) -> bool:
    return name.startswith(PREFIX) or name.endswith("rotary_emb.inv_freq")
