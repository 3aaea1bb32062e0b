"""Hashes of weights: over names, types, shapes and bytes; tied weights count once."""

import hashlib
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from omnikit.model import OmniModel


def distinct(part: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Give a part's tensors by name, each once: tied weights appear under their first name only."""
    seen = set()
    for name, tensor in part.state_dict().items():
        place = (tensor.data_ptr(), tensor.shape, tensor.stride())
        if tensor.numel() == 0 or place not in seen:
            seen.add(place)
            yield name, tensor


def weights_hash(part: nn.Module) -> str:
    """Give 16 hex digits over the names, types, shapes and bytes of a part's weights and buffers."""
    return tensors_hash(sorted(distinct(part), key=lambda item: item[0]))


def tensors_hash(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """Give 16 hex digits over the names, types, shapes and bytes of tensors, which come sorted by name."""
    digest = hashlib.sha256()
    for name, tensor in tensors:
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def hashes(model: OmniModel) -> dict[str, str]:
    """Give part name → hash of its weights."""
    return {path: weights_hash(part) for path, part in model.parts().items()}
