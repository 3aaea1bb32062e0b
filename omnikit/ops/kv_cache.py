"""Caches of attention keys and values, [B, H, T, W] each. Independent of weights, so one module serves many conversations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

FIRST = 512  # positions that a new buffer of a ragged cache holds


class KVCache(Protocol):
    """Keys and values of one layer, behind which new ones go."""

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Put new keys and values [B, H, T, W] behind the others; gives all of them."""


class ConcatKVCache:
    """Grows by concatenation; gradients pass. The first layer that extends it may be another one."""

    def __init__(self) -> None:
        self.stored: tuple[Tensor, Tensor] | None = None

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Concatenate; what it gave before stays as it was."""
        if self.stored is not None:
            keys, values = torch.cat([self.stored[0], keys], 2), torch.cat([self.stored[1], values], 2)
        self.stored = keys, values
        return self.stored


class FixedKVCache:
    """Memory for `capacity` positions that is allocated once; nothing is copied later."""

    def __init__(self, capacity: int) -> None:
        self.capacity, self.count = capacity, 0
        self.keys: Tensor | None = None
        self.values: Tensor | None = None

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write behind the last position; what it gave before does not change."""
        if self.keys is None or self.values is None:
            batch, heads, _, width = keys.shape
            self.keys, self.values = (keys.new_empty(batch, heads, self.capacity, width) for _ in range(2))
        end = self.count + keys.shape[2]
        self.keys[:, :, self.count:end] = keys
        self.values[:, :, self.count:end] = values
        self.count = end
        return self.keys[:, :, :end], self.values[:, :, :end]


class CachePositions:
    """Where `count` new frames of each row go in a ragged cache, behind those that the row has.

    Rows may have different numbers of frames; what a row gets behind its own new frames, its next ones replace.
    `mask` [B, 1, T, K] is added to the scores: 0 where a frame attends to another, else minus infinity.
    """

    def __init__(self, lengths: list[int], count: int, like: Tensor) -> None:
        self.even = len(set(lengths)) == 1
        self.start, self.end = max(lengths), max(lengths) + count
        first = torch.tensor(lengths[:1] if self.even else lengths, device=like.device)[:, None]
        self.positions = first + torch.arange(count, device=like.device)  # [B, T], or [1, T] where all rows are even
        later = torch.arange(self.end, device=like.device) > self.positions[:, None, :, None]  # [B, 1, T, K]
        self.mask = torch.zeros(later.shape, dtype=like.dtype, device=like.device).masked_fill_(later, float("-inf"))


@dataclass
class RaggedKVCache:
    """Rows of different lengths; full buffers double, so that each frame is copied a few times at most."""

    keys: Tensor | None = None
    values: Tensor | None = None

    def at(self, positions: CachePositions) -> KVCache:
        """Give the cache with the positions at which the next `extend` writes."""
        return _PositionedKVCache(self, positions)


@dataclass(frozen=True)
class _PositionedKVCache:
    cache: RaggedKVCache
    positions: CachePositions

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write at the positions; gives everything up to the last of them, [B, H, K, W]."""
        cache, end = self.cache, self.positions.end
        cache.keys = _with_new(cache.keys, keys, self.positions)
        cache.values = _with_new(cache.values, values, self.positions)
        return cache.keys[:, :, :end], cache.values[:, :, :end]


def _with_new(buffer: Tensor | None, new: Tensor, positions: CachePositions) -> Tensor:
    """Give the buffer with `new` at its positions, or a larger one if it is full."""
    batch, heads, _, width = new.shape
    capacity = 0 if buffer is None else buffer.shape[2]
    if positions.end > capacity:
        larger = new.new_zeros(batch, heads, max(FIRST, 2 * capacity, positions.end), width)
        if buffer is not None:
            larger[:, :, :capacity] = buffer
        buffer = larger
    assert buffer is not None, "made above"
    if positions.even:
        buffer[:, :, positions.start:positions.end] = new
    else:
        rows = torch.arange(batch, device=new.device)[:, None]
        buffer[rows, :, positions.positions] = new.transpose(1, 2)
    return buffer
