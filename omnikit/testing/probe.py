"""How a component is run by the checks, whatever its kind: rows of random input, its outputs for them, its loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from omnikit.parts import seeded
from omnikit.testing.component import Component
from omnikit.testing.results import CheckFailure, NotApplicable

Row = tuple[Tensor, ...]
"""Input of one row, without padding."""


class Probe(ABC):
    """Runs one component; a kind's own probe fills in what its input and output are."""

    def __init__(self, component: Component) -> None:
        self.component = component

    @property
    def config(self) -> Any:
        """The component's configuration."""
        return self.component.config

    @abstractmethod
    def make(self) -> Any:
        """Give a new module, as `build` gives it."""

    @abstractmethod
    def rows(self, seed: int = 0) -> list[Row]:
        """Give at least two rows of random input, of unequal lengths where the kind has lengths."""

    @abstractmethod
    def outputs(self, module: Any, rows: Sequence[Row]) -> list[Row]:
        """Give the valid part of each row's output; the rows are run as one batch, padded with noise."""

    def loss(self, module: Any, rows: Sequence[Row]) -> Tensor:
        """Give a loss that depends on every output: features and audio are held against random targets."""
        found = [each for row in self.outputs(module, rows) for each in row if each.is_floating_point()]
        if not found:
            raise NotApplicable("no loss depends on its weights")
        return to_random_targets(found)

    @cached_property
    def module(self) -> Any:
        """The module that checks read and leave as it is, in eval mode.

        Raises:
            NotApplicable: what `build` gives holds no weights.
        """
        return self.fresh()

    def fresh(self, seed: int = 0) -> Any:
        """Give a new module in eval mode, with the random weights of a seed; raises as `module`."""
        with seeded(f"conformance {seed}"):
            built = self.make()
        if not isinstance(built, nn.Module):
            raise NotApplicable("what it builds is not an nn.Module")
        return self.prepared(built.eval())

    def prepared(self, module: nn.Module) -> nn.Module:
        """Give a built module ready for use; a codec that is fitted is fitted here."""
        return module


def to_random_targets(found: Sequence[Tensor]) -> Tensor:
    """Give the mean squared distance of each tensor from random targets, so that every number of it counts otherwise."""
    generator = torch.Generator().manual_seed(1)
    losses = [(each.float() - torch.randn(each.shape, generator=generator)).square().mean() for each in found if each.numel()]
    if not losses:
        raise CheckFailure("all of its outputs are empty")
    return torch.stack(losses).mean()


def padded(rows: Sequence[Tensor], side: str = "right") -> Tensor:
    """Join rows [N, …] to [B, N, …] with noise beyond their ends, of a seed of its own."""
    longest = max(len(row) for row in rows)
    first = rows[0]
    shape = (len(rows), longest, *first.shape[1:])
    if first.is_floating_point():
        joined = 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(7))
    else:
        joined = torch.zeros(shape, dtype=first.dtype)
    for index, row in enumerate(rows):
        place = slice(0, len(row)) if side == "right" else slice(longest - len(row), longest)
        joined[index, place] = row
    return joined


def lengths_of(rows: Sequence[Tensor]) -> Tensor:
    """Give the lengths [B] of rows."""
    return torch.tensor([len(row) for row in rows], dtype=torch.int64)


def difference(found: Sequence[Row], expected: Sequence[Row]) -> float:
    """Give the largest difference of outputs, as a fraction of the largest expected number (of 1 where that is smaller).

    Infinite where shapes differ, or numbers that must be equal (ids) do.
    """
    largest = 0.0
    for row, other in zip(found, expected, strict=True):
        for one, two in zip(row, other, strict=True):
            if one.shape != two.shape:
                return float("inf")
            if not one.is_floating_point():
                largest = max(largest, 0.0 if bool((one == two).all()) else float("inf"))
            elif one.numel():
                gap = (one.float() - two.float()).abs().max() / two.float().abs().max().clamp(min=1.0)
                largest = max(largest, float(gap.nan_to_num(float("inf"))))
    return largest
