"""Attention keys and values of rows that come and go, each of its own length.

Rows stand one behind another without a gap, so that a step reads them where they lie: when one leaves, the last one moves to
its place. Memory grows by doubling and is given back when rows leave.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK = 64  # positions by which the memory of a row is rounded up


@dataclass(frozen=True)
class SavedRow:
    """The first positions of a row: keys and values [H, L, W] of each layer."""

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]

    @property
    def length(self) -> int:
        """Positions."""
        return self.keys[0].shape[1] if self.keys else 0

    @property
    def bytes(self) -> int:
        """Memory that it takes."""
        return sum(tensor.numel() * tensor.element_size() for tensor in (*self.keys, *self.values))

    def cut(self, length: int) -> SavedRow:
        """Give a copy of its first positions."""
        return SavedRow(*(tuple(each[:, :length].clone() for each in layers) for layers in (self.keys, self.values)))


@dataclass(frozen=True)
class RowStep:
    """New positions of some rows, as a layer needs them.

    Args:
        rows: [B] the rows.
        positions: [B, N] of their new tokens.
        end: positions up to the last new one of any row.
        first: the first row where the rows are a sequence without a gap; else None.
        replayed: the tensors change between the uses of this step, so that nothing may be read from them on the host.
    """

    rows: Tensor
    positions: Tensor
    end: int
    first: int | None
    replayed: bool = False

    def mask(self, window: int | None = None) -> Tensor:
        """Give [B, 1, N, end], True where a new position attends to another."""
        every = torch.arange(self.end, device=self.positions.device)
        mask = every <= self.positions[:, None, :, None]
        return mask if window is None else mask & (every > self.positions[:, None, :, None] - window)


@dataclass(frozen=True)
class LayerRows:
    """One layer's part in a step of some rows; an omnikit.ops.kv_cache.KVCache."""

    cache: RowCache
    number: int
    step: RowStep

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Put new keys and values [B, H, N, W]; gives all of these rows, [B, H, step.end, W]."""
        return self.cache.extend(self.number, keys, values, self.step)


class RowCache:
    """Owns keys and values [rows, H, positions, W] of each layer.

    Args:
        fixed: rows and positions for which memory is allocated once, at the first step, and never moved; None: as needed.
    """

    def __init__(self, fixed: tuple[int, int] | None = None) -> None:
        self.lengths: list[int] = []
        self.fixed = fixed
        self._keys: list[Tensor] = []
        self._values: list[Tensor] = []

    @property
    def bytes(self) -> int:
        """Memory that it takes."""
        return sum(tensor.numel() * tensor.element_size() for tensor in (*self._keys, *self._values))

    def add(self) -> int:
        """Give the number of a new empty row, which is the last one."""
        self.lengths.append(0)
        return len(self.lengths) - 1

    def remove(self, row: int) -> None:
        """Free a row; the last one gets its number."""
        last = len(self.lengths) - 1
        if row != last:
            for tensor in (*self._keys, *self._values):
                tensor[row, :, :self.lengths[last]] = tensor[last, :, :self.lengths[last]]
            self.lengths[row] = self.lengths[last]
        self.lengths.pop()
        self._shrink()

    def save(self, row: int) -> SavedRow:
        """Give a copy of what a row holds."""
        length = self.lengths[row]
        keys, values = (tuple(each[row, :, :length].clone() for each in layers) for layers in (self._keys, self._values))
        return SavedRow(keys, values)

    def load(self, row: int, saved: SavedRow, length: int) -> None:
        """Fill an empty row with the first positions of a saved one."""
        for layer, (keys, values) in enumerate(zip(saved.keys, saved.values, strict=True)):
            self._reserve(layer, keys[None], length)
            self._keys[layer][row, :, :length] = keys[:, :length]
            self._values[layer][row, :, :length] = values[:, :length]
        self.lengths[row] = length

    def begin(self, rows: Sequence[int], count: int, device: torch.device) -> RowStep:
        """Give where `count` new positions of some rows go; `commit` counts them when every layer has them."""
        starts = [self.lengths[row] for row in rows]
        given = torch.tensor([list(rows), starts]).to(device, non_blocking=True)
        positions = given[1][:, None] + torch.arange(count, device=device)
        dense = list(rows) == list(range(rows[0], rows[0] + len(rows)))
        return RowStep(given[0], positions, max(starts) + count, rows[0] if dense else None)

    def extend(self, layer: int, keys: Tensor, values: Tensor, step: RowStep) -> tuple[Tensor, Tensor]:
        """Put new keys and values [B, H, N, W] of a layer; gives all of these rows, [B, H, step.end, W]."""
        self._reserve(layer, keys, step.end)
        return (_extended(self._keys[layer], keys, step), _extended(self._values[layer], values, step))

    def commit(self, rows: Sequence[int], counts: int | Sequence[int]) -> None:
        """Count new positions, as many for each row, or each row's own; what lies behind them is replaced later."""
        numbers = [counts] * len(rows) if isinstance(counts, int) else counts
        for row, count in zip(rows, numbers, strict=True):
            self.lengths[row] += count

    def layer(self, number: int, step: RowStep) -> LayerRows:
        """Give one layer, for omnikit.ops.llama_layer."""
        return LayerRows(self, number, step)

    def _reserve(self, layer: int, like: Tensor, end: int) -> None:
        """Make room for all rows and `end` positions in a layer."""
        if layer == len(self._keys):
            empty = like.new_zeros(0, like.shape[1], 0, like.shape[3])
            self._keys.append(empty)
            self._values.append(empty)
        rows, positions = self._keys[layer].shape[0], self._keys[layer].shape[2]
        if self.fixed and not rows:
            self._keys[layer], self._values[layer] = (_resized(tensor, *self.fixed)
                                                      for tensor in (self._keys[layer], self._values[layer]))
        elif rows < len(self.lengths) or positions < end:
            assert not self.fixed, f"rows and positions are fixed at {self.fixed}, but {len(self.lengths)} and {end} are used"
            wanted = (rows if rows >= len(self.lengths) else max(2 * rows, len(self.lengths)),
                      positions if positions >= end else _rounded(max(end, positions * 3 // 2)))
            self._keys[layer], self._values[layer] = (_resized(tensor, *wanted)
                                                      for tensor in (self._keys[layer], self._values[layer]))

    def _shrink(self) -> None:
        """Give memory back where less than a quarter of it is used."""
        if self.fixed:
            return
        if not self.lengths:
            self._keys, self._values = [], []
        elif self._keys and 4 * len(self.lengths) * max(self.lengths) < self._keys[0].shape[0] * self._keys[0].shape[2]:
            wanted = len(self.lengths), _rounded(max(self.lengths))
            self._keys, self._values = ([_resized(tensor, *wanted) for tensor in tensors]
                                        for tensors in (self._keys, self._values))


def _rounded(positions: int) -> int:
    return -(-positions // BLOCK) * BLOCK


def _resized(tensor: Tensor, rows: int, positions: int) -> Tensor:
    """Copy what fits into new memory; what was never written stays zero, so that nothing infinite is multiplied by 0."""
    new = tensor.new_zeros(rows, tensor.shape[1], positions, tensor.shape[3])
    rows, positions = min(rows, tensor.shape[0]), min(positions, tensor.shape[2])
    new[:rows, :, :positions] = tensor[:rows, :, :positions]
    return new


def _extended(stored: Tensor, new: Tensor, step: RowStep) -> Tensor:
    if step.first is None or len(new) > 1 or step.replayed:
        stored[step.rows[:, None], :, step.positions] = new.transpose(1, 2)  # [B, N, H, W]
    else:
        stored[step.first, :, step.end - new.shape[2]:step.end] = new[0]
    if step.first is None:
        return stored[step.rows, :, :step.end]
    return stored[step.first:step.first + len(new), :, :step.end]
