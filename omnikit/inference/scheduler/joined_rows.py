"""Keys and values of running answers in one memory: a step reads the weights once for all of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from omnikit.contracts.layout import InputLayout
from omnikit.contracts.streaming import BackboneRows, SavedPositions
from omnikit.inference.row_numbers import RowNumber, RowNumbers, ascending


class JoinedRows:
    """Owns the rows of a backbone's answers.

    Args:
        cache: without a row in it.
    """

    def __init__(self, cache: BackboneRows) -> None:
        self._cache, self._numbers = cache, RowNumbers()

    @property
    def bytes(self) -> int:
        """Memory of keys and values."""
        return self._cache.bytes

    def open(self) -> RowNumber:
        """Give an empty row."""
        return self._numbers.add(self._cache.add())

    def set_layout(self, row: RowNumber, layout: InputLayout) -> None:
        """Never called, since BatchEngine refuses backbones that take a layout."""
        raise AssertionError("rows that are joined have no layout")

    def length(self, row: RowNumber) -> int:
        """Give the positions that a row holds."""
        return self._cache.lengths[row.index]

    def load(self, row: RowNumber, saved: SavedPositions, length: int) -> None:
        """Fill an empty row with saved positions."""
        self._cache.load(row.index, saved, length)

    def save(self, row: RowNumber) -> SavedPositions | None:
        """Give a copy of what a row holds."""
        return self._cache.save(row.index)

    def prefill(self, row: RowNumber, inputs: Tensor) -> Tensor:
        """Read the next positions [N, D] of a row's prompt; gives their hidden states [N, D]."""
        return self._cache.step(inputs[None], [row.index])[0]

    def step(self, rows: Sequence[RowNumber], inputs: Tensor) -> Tensor:
        """Read one position of each row, inputs [B, D]; gives hidden states [B, D]."""
        order = ascending(rows)
        numbers = [rows[at].index for at in order]
        if order == list(range(len(rows))):
            return self._cache.step(inputs[:, None], numbers)[:, 0]
        positions = torch.tensor(order).to(inputs.device, non_blocking=True)
        hidden = self._cache.step(inputs[positions][:, None], numbers)[:, 0]
        return torch.empty_like(hidden).index_copy_(0, positions, hidden)

    def close(self, row: RowNumber) -> None:
        """Free a row; the last one gets its number."""
        self._cache.remove(row.index)
        self._numbers.remove(row)
