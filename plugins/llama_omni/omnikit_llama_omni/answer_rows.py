"""The unit head's answers that are spoken at the same time: one step of its layers for all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from omnikit.contracts.codes import Code
from omnikit.contracts.types import Features
from omnikit.ops.row_cache import RowCache, RowStep
from omnikit_llama_omni.state import NONE, collapse_after

Classes = Callable[[Tensor, RowCache, RowStep], Tensor]


class UnitRows:
    """Owns keys, values and last labels of the head's answers.

    Args:
        classify: takes states [B, M, D], the cache and where their frames go; gives the class [B, T] of each frame.
        factor: frames of a state.
        blank: the class that stands for no unit.
    """

    def __init__(self, classify: Classes, factor: int, blank: int) -> None:
        self._classify, self._factor, self._blank = classify, factor, blank
        self._cache, self._labels = RowCache(), list[int]()

    def add(self) -> int:
        """Give the number of a new answer, which is the last one."""
        self._labels.append(NONE)
        return self._cache.add()

    def remove(self, row: int) -> None:
        """Free an answer's row; the last one gets its number."""
        self._cache.remove(row)
        last = self._labels.pop()
        if row < len(self._labels):
            self._labels[row] = last

    @torch.no_grad()
    def step(self, features: Features, rows: Sequence[int]) -> list[tuple[list[Code], list[int] | None]]:
        """New states [B, M, D] of some answers; gives each one's new units and the state that each came from."""
        counts = [self._factor * count for count in features.lengths.tolist()]
        step = self._cache.begin(rows, max(counts), features.data.device)
        best: list[list[int]] = self._classify(features.data[:, :max(counts) // self._factor], self._cache, step).tolist()
        self._cache.commit(rows, counts)
        return [self._units(row, classes[:count]) for row, classes, count in zip(rows, best, counts, strict=True)]

    def _units(self, row: int, classes: list[int]) -> tuple[list[Code], list[int] | None]:
        found = collapse_after(self._labels[row], classes, self._blank)
        self._labels[row] = classes[-1] if classes else self._labels[row]
        return [(unit,) for _, unit in found], [frame // self._factor for frame, _ in found]
