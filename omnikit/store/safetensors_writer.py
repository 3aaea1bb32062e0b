"""A stage's weights written tensor by tensor, so that a model larger than the memory can be kept. Read by checkpoint.load.

The file is safetensors: the header's length (8 bytes, little-endian), the header (JSON), then the tensors without gaps.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from omnikit.contracts.types import LazyTensor
from omnikit.store.files import disk_errors
from omnikit.store.tensors import DTYPES

WORDS = {theirs: ours for ours, theirs in DTYPES.items()}  # torch's word → safetensors' word


def write(path: Path, parts: Mapping[str, Mapping[str, LazyTensor]], progress: Callable[[float], None]) -> dict[str, str]:
    """Write part → name → tensor with the header that checkpoint.save gives; give part → hash, as weights_hash does.

    Args:
        progress: called with the finished share.

    Raises:
        RunError: the disk is full or does not let us write; nothing is left behind.
    """
    tensors = {f"{part}.{name}": tensor for part, named in parts.items() for name, tensor in named.items()}
    offsets = _offsets(tensors)
    partial = path.with_name(f"{path.name}.partial")
    trained = dict.fromkeys(parts, "0" * 16)  # as long as the hashes that will stand there
    try:
        with disk_errors(path):
            with partial.open("wb") as file:
                start = file.write(_header(tensors, offsets, _facts(trained)))
                total, done = sum(map(size, tensors.values())), 0
                for part, named in parts.items():
                    digest = hashlib.sha256()
                    for name, tensor in sorted(named.items()):
                        file.seek(start + offsets[f"{part}.{name}"])
                        file.write(_digested(digest, name, tensor.read()))
                        done += size(tensor)
                        progress(done / max(1, total))
                    trained[part] = digest.hexdigest()[:16]
                file.seek(0)
                file.write(_header(tensors, offsets, _facts(trained)))
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return trained


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
        for name in sorted(offsets, key=offsets.__getitem__):
            file.write(_bytes(tensors[name].read()))
            passed(size(tensors[name]))


def stored_hash(named: Mapping[str, LazyTensor]) -> str:
    """Give the hash that weights_hash would give of a module with these tensors."""
    digest = hashlib.sha256()
    for name, tensor in sorted(named.items()):
        _digested(digest, name, tensor.read())
    return digest.hexdigest()[:16]


def size(tensor: LazyTensor) -> int:
    """Give a tensor's bytes."""
    dtype: torch.dtype = getattr(torch, tensor.dtype)
    return count(tensor) * dtype.itemsize


def count(tensor: LazyTensor) -> int:
    """Give a tensor's numbers."""
    return int(torch.Size(tensor.shape).numel())


def _digested(digest: "hashlib._Hash", name: str, tensor: Tensor) -> memoryview:
    """Add a tensor to a hash, as weights_hash does, and give its bytes."""
    digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
    data = _bytes(tensor)
    digest.update(data)
    return data


def _bytes(tensor: Tensor) -> memoryview:
    data: memoryview = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data
    return data


def _offsets(tensors: Mapping[str, LazyTensor]) -> dict[str, int]:
    """Give name → place behind the header; wide numbers first, so that each lies where a mapped file can be viewed."""
    found, place = {}, 0
    for name, tensor in sorted(tensors.items(), key=lambda item: (-getattr(torch, item[1].dtype).itemsize, item[0])):
        found[name] = place
        place += size(tensor)
    return found


def _facts(trained: Mapping[str, str]) -> dict[str, str]:
    return {"trained": json.dumps(dict(trained)), "frozen": json.dumps({})}


def _header(tensors: Mapping[str, LazyTensor], offsets: Mapping[str, int], metadata: Mapping[str, str]) -> bytes:
    facts: dict[str, object] = {"__metadata__": dict(metadata)}
    for name, place in sorted(offsets.items(), key=lambda item: item[1]):
        tensor = tensors[name]
        facts[name] = {"dtype": WORDS[tensor.dtype], "shape": list(tensor.shape),
                       "data_offsets": [place, place + size(tensor)]}
    text = json.dumps(facts).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
