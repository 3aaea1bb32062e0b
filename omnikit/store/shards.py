"""Tensors into safetensors files of a bounded size, laid out as transformers does; tensors.in_folder reads them back."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file

from omnikit.contracts.types import LazyTensor

SHARD = 5 * 10**9  # bytes, as transformers cut when both published layouts were written


def save_shards(tensors: Mapping[str, LazyTensor], folder: Path) -> None:
    """Write model.safetensors, or several files with their index; one shard at a time is in memory."""
    shards = list(_shards(tensors))
    if len(shards) == 1:
        _save(tensors, shards[0], folder / "model.safetensors")
        return
    places: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        _save(tensors, shard, folder / file)
        places |= dict.fromkeys(shard, file)
    index = {"metadata": {"total_size": sum(_size(tensor) for tensor in tensors.values())}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _save(tensors: Mapping[str, LazyTensor], names: list[str], file: Path) -> None:
    save_file({name: tensors[name].read().contiguous() for name in names}, file, {"format": "pt"})


def _shards(tensors: Mapping[str, LazyTensor]) -> Iterator[list[str]]:
    shard: list[str] = []
    room = SHARD
    for name, tensor in tensors.items():
        if shard and _size(tensor) > room:
            yield shard
            shard, room = [], SHARD
        shard.append(name)
        room -= _size(tensor)
    yield shard


def _size(tensor: LazyTensor) -> int:
    dtype: torch.dtype = getattr(torch, tensor.dtype)
    return torch.Size(tensor.shape).numel() * dtype.itemsize
