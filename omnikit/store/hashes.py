"""Hashes of weights: over names, dtypes, shapes and bytes; tied weights count once.

Each tensor has a digest of its own, and a part's hash is made of those: any order of reading gives it, and one tensor of a
file can be compared without the others.
"""

import hashlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from omnikit.model import OmniModel


def distinct(part: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Give a part's tensors by name, each once: tied weights appear under their first name only."""
    seen: set[object] = set()
    for name, tensor in part.state_dict(keep_vars=True).items():
        place = id(tensor) if tensor.is_meta else (tensor.data_ptr(), tensor.shape, tensor.stride())
        if tensor.numel() == 0 or place not in seen:
            seen.add(place)
            yield name, tensor.detach()


def weights_hash(part: nn.Module) -> str:
    """Give 16 hex digits over the names, dtypes, shapes and bytes of a part's weights and buffers."""
    return part_hash({name: tensor_digest(tensor) for name, tensor in distinct(part)})


def part_hash(digests: Mapping[str, str]) -> str:
    """Give a part's hash from name → digest of its tensors."""
    text = "".join(f"{name} {digest}\n" for name, digest in sorted(digests.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def tensor_digest(tensor: Tensor) -> str:
    """Give 32 hex digits over a tensor's dtype, shape and bytes."""
    digest = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
    digest.update(tensor_bytes(tensor))
    return digest.hexdigest()[:32]


def tensor_bytes(tensor: Tensor) -> memoryview:
    """Give a tensor's bytes, without a copy where it is contiguous and on the CPU."""
    data: memoryview = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data
    return data


def hashes(model: OmniModel) -> dict[str, str]:
    """Give part name → hash of its weights."""
    return {path: weights_hash(part) for path, part in model.parts().items()}
