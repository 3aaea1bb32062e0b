"""What is frozen stays frozen, and proves it: no gradient, eval mode, not in the optimizer, the same hash afterwards."""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from omnikit.errors import RunError
from omnikit.model import OmniModel


def freeze(model: OmniModel, trained: Collection[str]) -> None:
    """Freeze every part that is not trained; the model's `train()` leaves it in eval mode from now on."""
    model.frozen = frozenset(path for path in model.parts() if path not in trained)
    for path, part in model.parts().items():
        part.requires_grad_(path in trained)
    model.train(model.training)


@contextmanager
def full_precision(model: OmniModel, trained: Collection[str]) -> Iterator[None]:
    """Hold the trained parts in float32, where an update smaller than a half-precision step counts, then in their own type."""
    halves = [(weights, weights.dtype) for path in trained for weights in model.get_submodule(path).parameters()
              if weights.dtype in (torch.bfloat16, torch.float16)]
    for weights, _ in halves:
        weights.data = weights.data.float()
    yield
    for weights, dtype in halves:
        weights.grad = None
        weights.data = weights.data.to(dtype)


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


def check_unmoved(before: Mapping[str, str], after: Mapping[str, str], trained: Collection[str], stage: str) -> None:
    """Raise RunError if a part changed that the stage does not train."""
    for path, digest in before.items():
        if path not in trained and after[path] != digest:
            raise RunError(f"Stage {stage} changed {path}, which it does not train: its weights had hash {digest} before"
                           f" and {after[path]} after; the part must keep what it learns in parameters and buffers.")
