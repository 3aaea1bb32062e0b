"""What is frozen stays frozen, what is trained moves, and both are proved.

Frozen: no gradient, eval mode, not in the optimizer, the same hash afterwards. Trained: each tensor has other numbers then.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from omnikit.contracts.optional import module_options
from omnikit.errors import RunError
from omnikit.model import OmniModel
from omnikit.plan.patterns import matching, similar
from omnikit.plan.stage_plan import StagePlan
from omnikit.store.checkpoint import THREADS
from omnikit.store.hashes import distinct, tensor_digest, weights_hash
from omnikit.store.mapped import cast

HALVES = (torch.bfloat16, torch.float16)
SHOWN = 3  # tensors that a sentence names


def freeze(model: OmniModel, trained: Collection[str]) -> None:
    """Freeze every part that is not trained; the model's `train()` leaves it in eval mode from now on."""
    model.frozen = frozenset(path for path in model.parts() if path not in trained)
    for path, part in model.parts().items():
        part.requires_grad_(path in trained)
        for weights in unused(part):
            part.get_parameter(weights).requires_grad_(False)
    model.train(model.training)


def unused(module: nn.Module) -> list[str]:
    """Give the names of a part's parameters that no loss depends on, as its module states."""
    names = [name for name, _ in module.named_parameters()]
    return [name for pattern in module_options(module).unused_parameters for name in matching(pattern, names)]


def chosen_tensors(module: nn.Module, patterns: Collection[str], where: str, part: str) -> list[str]:
    """Give the names of the parameters that patterns cover.

    Args:
        where: dotted place of the patterns, `part`: the part in words, for sentences.

    Raises:
        RunError: a pattern covers none.
    """
    idle = set(unused(module))
    names = [name for name, _ in module.named_parameters() if name not in idle]
    found = {pattern: matching(pattern, names) for pattern in patterns}
    for pattern, covered in found.items():
        if not covered:
            first = ", ".join(dict.fromkeys(name.partition(".")[0] for name in names)) or "nothing"
            raise RunError(f"{where}.{pattern} names no weights of {part}.{similar(pattern, names)} It has: {first}.")
    return [name for name in names if any(name in covered for covered in found.values())]


@contextmanager
def full_precision(model: OmniModel, trained: Collection[str], pieces: Collection[str] = ()) -> Iterator[None]:
    """Hold what is trained in float32, where an update smaller than a half-precision step counts, then in its own type.

    Args:
        pieces: parts of which some tensors are trained themselves; the rest computes with these, so it is held in float32 too.
    """
    halves = [(weights, weights.dtype) for path in trained for weights in model.get_submodule(path).parameters()
              if weights.dtype in HALVES and (weights.requires_grad or path in pieces)]
    for weights, _ in halves:
        weights.data = weights.data.float()
    yield
    for weights, dtype in halves:
        weights.grad = None
        weights.data = cast(weights.data, dtype)


@dataclass
class Snapshot:
    """The hashes of what a stage must leave as it is: of parts, and of the tensors of parts that it trains in pieces."""

    stage: str
    parts: dict[str, str]
    tensors: dict[str, dict[str, str]] = field(default_factory=dict)

    @staticmethod
    def of(model: OmniModel, stage: StagePlan) -> "Snapshot":
        """Take it before anything is trained."""
        parts = model.parts()
        frozen = {path: model.hashes[path] if path in model.hashes and path not in model.merged else weights_hash(part)
                  for path, part in parts.items() if path not in stage.trained}
        return Snapshot(stage.name, frozen, {path: _digests(distinct(parts[path])) for path in stage.tuning if path in parts})

    def check(self, model: OmniModel, trained: Mapping[str, Collection[str]]) -> None:
        """Raise RunError if something changed.

        Args:
            trained: part → names of the tensors that may have changed, for parts that are trained in pieces.
        """
        parts = model.parts()
        check_unmoved(self.parts, {path: weights_hash(parts[path]) for path in self.parts}, (), self.stage)
        for path, before in self.tensors.items():
            after = _digests(distinct(parts[path]))
            moved = [name for name, digest in before.items() if name not in trained[path] and after.get(name) != digest]
            if moved:
                raise RunError(f"Stage {self.stage} changed {path}.{moved[0]}, which it does not train; the part must keep what"
                               " it learns in parameters and buffers.")


class Movement:
    """The hashes of every tensor that a stage trains, before it does."""

    def __init__(self, model: OmniModel, stage: StagePlan) -> None:
        self.stage = stage
        self.before = _digests(_trained(model, stage.trained))

    def check(self, model: OmniModel) -> None:
        """Raise RunError if a tensor is as it was, with the reason that its last gradient gives."""
        still: dict[str, list[str]] = {}  # reason → names
        trained = dict(_trained(model, self.stage.trained))
        for name, digest in _digests(trained.items()).items():
            if trained[name].numel() and self.before.get(name) == digest:
                still.setdefault(_reason(trained[name]), []).append(name)
        if still:
            raise RunError(*(f"Stage {self.stage.name} trains {listed(names)}, which did not move: {reason}."
                             for reason, names in still.items()))


def check_unmoved(before: Mapping[str, str], after: Mapping[str, str], trained: Collection[str], stage: str) -> None:
    """Raise RunError if a part changed that the stage does not train."""
    for path, digest in before.items():
        if path not in trained and after[path] != digest:
            raise RunError(f"Stage {stage} changed {path}, which it does not train: its weights had hash {digest} before"
                           f" and {after[path]} after; the part must keep what it learns in parameters and buffers.")


def _digests(tensors: Iterable[tuple[str, Tensor]]) -> dict[str, str]:
    """Give name → digest, several tensors at a time."""
    found = dict(tensors)
    with ThreadPoolExecutor(THREADS) as pool:
        return dict(zip(found, pool.map(tensor_digest, found.values()), strict=True))


def _trained(model: OmniModel, parts: Collection[str]) -> Iterator[tuple[str, Tensor]]:
    """Give (name, parameter) of all that requires a gradient in the parts."""
    for path in parts:
        for name, weights in model.get_submodule(path).named_parameters():
            if weights.requires_grad:
                yield f"{path}.{name}", weights


def _reason(weights: Tensor) -> str:
    if weights.grad is None:
        return ("no gradient reached it, so no loss of the stage depends on it for this data; add a loss or rows that use it,"
                " or do not train it")
    if not weights.grad.any():
        return "its gradient was zero; look for a part that ignores it, or do not train it"
    return "its steps were too small for its numbers; raise the stage's optim.lr"


def listed(names: list[str]) -> str:
    """Give the first few names, and how many more there are."""
    return f"{', '.join(names[:SHOWN])}{f' and {len(names) - SHOWN} more' if len(names) > SHOWN else ''}"
