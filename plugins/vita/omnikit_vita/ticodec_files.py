"""TiCodec's published folder: model.json and final.pt, read and written. Uses no module of ours, only names and shapes.

What model.json does not say (the original's code has it as numbers) is read off the tensors' shapes.
Sources: the names and shapes of VITA-1.5's codec folder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from omnikit.contracts.types import LazyTensor
from omnikit.errors import RunError
from omnikit.store.files import atomic_file, write_text
from omnikit.store.layouts import from_legacy_weight_norm, to_legacy_weight_norm
from omnikit.store.tensors import in_memory, mapping, read_json, torch_file
from omnikit_vita.ticodec import TiCodec

SETTINGS, WEIGHTS = "model.json", "final.pt"
PARTS = ("generator", "quantizer", "encoder")  # the mappings in final.pt
UNUSED = "encoder.linear.0."  # a layer that the original makes and never calls


def stored(path: Path) -> tuple[dict[str, LazyTensor], list[LazyTensor]]:
    """Give our name → tensor of a final.pt, or of the folder that holds it, and the tensors that nothing uses.

    Raises:
        RunError: the file is missing, cut short, or lacks one of its three mappings.
    """
    file = path / WEIGHTS if path.is_dir() else path
    whole = torch_file(file)
    if not isinstance(whole, Mapping) or any(part not in whole for part in PARTS):
        raise RunError(f"{file} is not a codec of VITA's: it must hold the mappings {', '.join(PARTS)}; give the folder with"
                       f" {SETTINGS} and {WEIGHTS}.")
    found, unused = {}, []
    for part in PARTS:
        for name, tensor in mapping(whole[part], file).items():
            held = in_memory(f"{part}.{name}", file, tensor.read())
            if held.name.startswith(UNUSED):
                unused.append(held)
            else:
                found[from_legacy_weight_norm(held.name)] = held
    return found, unused


def settings(folder: Path, tensors: Mapping[str, LazyTensor]) -> dict[str, object]:
    """Give the fields of TiCodec as model.json and the shapes have them.

    Raises:
        RunError: model.json is missing or lacks a key, or a tensor is missing.
    """
    return fields(read_json(folder / SETTINGS), {name: tensor.shape for name, tensor in tensors.items()}, folder)


def fields(model: Mapping[str, object], shapes: Mapping[str, tuple[int, ...]], folder: Path) -> dict[str, object]:
    """As `settings`, of what model.json holds and the shapes of tensors by our names."""
    table, voice = (f"quantizer.quantizer_modules{kind}.embedding.weight" for kind in (".0", "_globaltokens.{}"))
    try:
        kernels, dilations = (_numbers(model[f"resblock_{word}"]) for word in ("kernel_sizes", "dilation_sizes"))
        parts = [shapes[name] for index in range(len(shapes)) if (name := voice.format(index)) in shapes]
        wide, voice, pre = shapes["encoder.conv_post.weight"][0], "encoder.GlobalTokenEncoder.conv.0.weight", "conv_pre"
        found: dict[str, object] = {
            "codes": shapes[table][0], "dim": wide, "groups": wide // shapes[table][1], "levels": _levels(shapes),
            "channels": model["upsample_initial_channel"], "rates": _numbers(model["upsample_rates"]),
            "kernels": _numbers(model["upsample_kernel_sizes"]), "block_kernels": kernels, "block_dilations": dilations,
            "paired": str(model["resblock"]) == "1",
            "encoder_channels": shapes[from_legacy_weight_norm(f"encoder.{pre}.weight_v")][0],
            "global_dim": shapes[voice][1], "global_hidden": shapes[voice][0], "global_kernel": shapes[voice][2],
            "global_groups": len(parts), "global_codes": parts[0][0], "sample_rate": model["sampling_rate"]}
    except (LookupError, TypeError) as error:
        raise RunError(f"{folder} is not a complete codec folder: {SETTINGS} or {WEIGHTS} lacks {error}; copy both"
                       " again.") from error
    tokens = model.get("global_tokens")
    return found | ({"voice": _numbers(tokens)} if tokens else {})


def voice(path: Path) -> tuple[int, ...]:
    """Give the global_tokens beside a final.pt, or in the folder that holds it; none where no model.json names any.

    Raises:
        RunError: one of them is not a whole number.
    """
    file = (path if path.is_dir() else path.parent) / SETTINGS
    tokens = read_json(file).get("global_tokens") if file.is_file() else None
    tokens = tokens if isinstance(tokens, list) else []
    whole = tuple(token for token in tokens if isinstance(token, int))
    if len(whole) < len(tokens):
        raise RunError(f"{file}: global_tokens are {tokens}, not whole numbers")
    return whole


def holds(config: TiCodec) -> bool:
    """Whether the layout can express a codec: its encoder takes the waveform and mirrors its generator."""
    return not config.mel_bands and (config.down_rates, config.down_kernels) == (config.rates[::-1], config.kernels[::-1])


def write(config: TiCodec, tensors: Mapping[str, LazyTensor], folder: Path) -> None:
    """Write a codec of ours as a published folder; a trained voice becomes its global_tokens.

    Raises:
        RunError: it takes mel, or does not mirror its generator: the layout cannot express that.
    """
    if not holds(config):
        raise RunError("The codec of this run takes mel or has an encoder unlike its generator, which layout vita has no words"
                       " for; export a codec with mel_bands 0 and no encoder_rates.")
    whole: dict[str, dict[str, Tensor]] = {part: {} for part in PARTS}
    voice: list[int] = list(config.voice)
    for name, tensor in tensors.items():
        if name == "voice":
            voice = voice or cast(list[int], tensor.read().tolist())
            continue
        part, _, own = to_legacy_weight_norm(name).partition(".")
        whole[part][own] = tensor.read().contiguous().clone()
    wide = config.global_dim
    whole["encoder"] |= {"linear.0.weight": torch.zeros(wide, wide), "linear.0.bias": torch.zeros(wide)}  # see UNUSED
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_file(folder / WEIGHTS) as path, path.open("wb") as file:  # torch writes a path's name into the file
        torch.save(whole, file)
    write_text(folder / SETTINGS, json.dumps(_model(config, voice), indent=2) + "\n")


def _model(config: TiCodec, voice: list[int]) -> dict[str, object]:
    """Give model.json with the original's keys; weights of the losses as published."""
    return {"resblock": "1" if config.paired else "2", "upsample_rates": list(config.rates),
            "upsample_kernel_sizes": list(config.kernels), "upsample_initial_channel": config.channels,
            "resblock_kernel_sizes": list(config.block_kernels),
            "resblock_dilation_sizes": [list(block) for block in config.block_dilations],
            "sampling_rate": config.sample_rate, "n_code_groups": config.groups, "residul_layer": config.levels,
            "n_codes": config.codes, "codebook_loss_lambda": 1.0, "commitment_loss_lambda": 0.25,
            "global_code_num": config.global_groups,
            "global_feature_conv": [config.global_dim, config.global_hidden, config.global_dim, config.global_kernel, 1],
            "global_tokens": voice}


def _levels(shapes: Mapping[str, tuple[int, ...]]) -> int:
    names = (re.match(r"quantizer\.(quantizer_modules\d*)\.0\.", name) for name in shapes)
    return len({found[1] for found in names if found})


def _numbers(values: object) -> tuple[object, ...]:
    """Give a JSON list as a tuple, lists in it too."""
    if not isinstance(values, list):
        raise TypeError(f"a list where {values!r} stands")
    return tuple(_numbers(value) if isinstance(value, list) else value for value in values)
