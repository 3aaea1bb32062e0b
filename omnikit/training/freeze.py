"""What is frozen stays frozen, and proves it: no gradient, eval mode, not in the optimizer, the same hash afterwards."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

import torch

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


def check_unmoved(before: Mapping[str, str], after: Mapping[str, str], trained: Collection[str], stage: str) -> None:
    """Raise RunError if a part changed that the stage does not train."""
    for path, digest in before.items():
        if path not in trained and after[path] != digest:
            raise RunError(f"Stage {stage} changed {path}, which it does not train: its weights had hash {digest} before"
                           f" and {after[path]} after; the part must keep what it learns in parameters and buffers.")
