"""Safetensors files written tensor by tensor, so that a model larger than the memory can be saved; large ones in shards.

A file is the header's length (8 bytes, little-endian), the header (JSON), then the tensors without gaps. Equal tensors give
equal bytes.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch

from omnikit.contracts.types import LazyTensor
from omnikit.store.files import disk_errors
from omnikit.store.hashes import part_hash, tensor_bytes, tensor_digest
from omnikit.store.tensors import DTYPES

WORDS = {theirs: ours for ours, theirs in DTYPES.items()}  # torch's word → safetensors' word
SHARD = 5 * 10**9  # bytes, as transformers cuts
INDEX = ".index.json"
Parts = Mapping[str, Mapping[str, LazyTensor]]


def write(path: Path, parts: Parts, facts: Mapping[str, object], progress: Callable[[float], None],
          identify: Callable[[str, str], str] = lambda _, digest: digest) -> dict[str, str]:
    """Write part → name → tensor with a header that holds `trained` (part → hash), `digests` and `facts`, as JSON.

    Above SHARD bytes, `weights.safetensors` becomes weights-00001-of-00002.safetensors and so on, and the header stands in
    the metadata of weights.safetensors.index.json.

    Args:
        progress: called with the finished fraction.
        identify: gives a part's hash from its name and the hash of its tensors; 16 digits.

    Returns:
        part → hash, as weights_hash gives.

    Raises:
        RunError: the disk is full or does not let us write; nothing is left behind.
    """
    tensors = {f"{part}.{name}": tensor for part, named in parts.items() for name, tensor in named.items()}
    shards, total, done = list(split(tensors)), max(1, sum(map(size, tensors.values()))), 0
    digests: dict[str, str] = {}

    def passed(name: str, digest: str) -> None:
        nonlocal done
        digests[name] = digest
        done += size(tensors[name])
        progress(done / total)

    def header() -> dict[str, str]:
        """As long before the digests are known as afterwards."""
        found = {name: digests.get(name, "0" * 32) for name in tensors}
        trained = {part: identify(part, part_hash({name: found[f"{part}.{name}"] for name in named}))
                   for part, named in parts.items()}
        return {key: json.dumps(value) for key, value in {"trained": trained, "digests": found, **facts}.items()}

    finals = [path] if len(shards) == 1 else [
        path.with_name(f"{path.stem}-{number:05}-of-{len(shards):05}{path.suffix}") for number in range(1, len(shards) + 1)]
    partials = [final.with_name(f"{final.name}.partial") for final in finals]
    try:
        with disk_errors(path):
            for partial, shard in zip(partials, shards, strict=True):
                _write_digested(partial, {name: tensors[name] for name in shard}, header, passed, alone=len(shards) == 1)
            for partial, final in zip(partials, finals, strict=True):
                partial.replace(final)
            if len(shards) > 1:
                shard_of = {name: final.name for final, shard in zip(finals, shards, strict=True) for name in shard}
                text = json.dumps({"metadata": header(), "weight_map": shard_of})
                path.with_name(f"{path.name}{INDEX}").write_text(text, encoding="utf-8")
    finally:
        for partial in partials:
            partial.unlink(missing_ok=True)
    return dict(json.loads(header()["trained"]))


def write_plain(path: Path, tensors: Mapping[str, LazyTensor], passed: Callable[[int], None]) -> None:
    """Write name → tensor as transformers does, into a new file.

    Args:
        passed: called with the bytes of each tensor that was written.

    Raises:
        RunError: the disk is full or does not let us write.
    """
    offsets = _offsets(tensors)
    with disk_errors(path), path.open("wb") as file:
        file.write(_header(tensors, offsets, {"format": "pt"}))
        for name in offsets:
            file.write(tensor_bytes(tensors[name].read()))
            passed(size(tensors[name]))


def split(tensors: Mapping[str, LazyTensor]) -> Iterator[list[str]]:
    """Give the names of each shard, in order; a tensor larger than SHARD has one of its own."""
    shard: list[str] = []
    room = SHARD
    for name, tensor in tensors.items():
        if shard and size(tensor) > room:
            yield shard
            shard, room = [], SHARD
        shard.append(name)
        room -= size(tensor)
    yield shard


def size(tensor: LazyTensor) -> int:
    """Give a tensor's bytes."""
    dtype: torch.dtype = getattr(torch, tensor.dtype)
    return count(tensor) * dtype.itemsize


def count(tensor: LazyTensor) -> int:
    """Give a tensor's numbers."""
    return int(torch.Size(tensor.shape).numel())


def _write_digested(path: Path, tensors: Mapping[str, LazyTensor], metadata: Callable[[], dict[str, str]],
                    passed: Callable[[str, str], None], *, alone: bool) -> None:
    """Write a file; `alone`, its header has the metadata, which is written again when all digests are known."""
    offsets = _offsets(tensors)
    with path.open("wb") as file:
        file.write(_header(tensors, offsets, metadata() if alone else {"format": "pt"}))
        for name in offsets:
            tensor = tensors[name].read()
            passed(name, tensor_digest(tensor))
            file.write(tensor_bytes(tensor))
        if alone:
            file.seek(0)
            file.write(_header(tensors, offsets, metadata()))


def _offsets(tensors: Mapping[str, LazyTensor]) -> dict[str, int]:
    """Give name → place behind the header, in order; wide numbers first: each lies where a mapped file can be viewed."""
    found, place = {}, 0
    for name, tensor in sorted(tensors.items(), key=lambda item: (-getattr(torch, item[1].dtype).itemsize, item[0])):
        found[name] = place
        place += size(tensor)
    return found


def _header(tensors: Mapping[str, LazyTensor], offsets: Mapping[str, int], metadata: Mapping[str, str]) -> bytes:
    facts: dict[str, object] = {"__metadata__": dict(metadata)}
    for name, place in offsets.items():
        tensor = tensors[name]
        facts[name] = {"dtype": WORDS[tensor.dtype], "shape": list(tensor.shape),
                       "data_offsets": [place, place + size(tensor)]}
    text = json.dumps(facts).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
