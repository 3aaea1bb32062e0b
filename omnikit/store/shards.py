"""Tensors into safetensors files of a bounded size, laid out as transformers does; tensors.in_folder reads them back."""

import json
from collections.abc import Mapping
from pathlib import Path

from omnikit.contracts.types import LazyTensor
from omnikit.store.safetensors_writer import INDEX, size, split, write_plain


def save_shards(tensors: Mapping[str, LazyTensor], folder: Path) -> None:
    """Write model.safetensors, or several files with their index; one tensor at a time is in memory."""
    shards = list(split(tensors))
    if len(shards) == 1:
        write_plain(folder / "model.safetensors", tensors, lambda _: None)
        return
    shard_of: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        write_plain(folder / file, {name: tensors[name] for name in shard}, lambda _: None)
        shard_of |= dict.fromkeys(shard, file)
    index = {"metadata": {"total_size": sum(map(size, tensors.values()))}, "weight_map": shard_of}
    (folder / f"model.safetensors{INDEX}").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
