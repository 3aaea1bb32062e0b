"""What the unit head keeps of an answer while it streams: keys and values of the frames so far, and the last raw label.

Knows nothing of weights, so that one head serves many conversations.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

FIRST = 512  # frames that a new buffer has room for
NONE = -1  # a label that no frame has


@dataclass
class Past:
    """Keys and values [B, H, room, W] of one layer; full buffers double, so that each frame is copied a few times at most."""

    keys: Tensor | None = None
    values: Tensor | None = None

    def extend(self, keys: Tensor, values: Tensor, places: Places) -> tuple[Tensor, Tensor]:
        """Put new keys and values [B, H, T, W] at their places; gives all of them up to the last place [B, H, K, W]."""
        self.keys = _written(self.keys, keys, places)
        self.values = _written(self.values, values, places)
        return self.keys[:, :, :places.end], self.values[:, :, :places.end]


@dataclass
class UnitState:
    """Changed in place by the head's `step`.

    Args:
        frames: [B] frames that each row has seen.
        labels: [B] class of each row's last frame, blanks included; NONE before the first.
        layers: keys and values of each layer.
    """

    frames: list[int]
    labels: list[int]
    layers: list[Past] = field(default_factory=list)

    @classmethod
    def empty(cls, batch: int, layers: int) -> UnitState:
        """Give the state of `batch` rows of which nothing was seen."""
        return cls([0] * batch, [NONE] * batch, [Past() for _ in range(layers)])

    def advance(self, best: list[list[int]], counts: list[int], blank: int) -> list[list[int]]:
        """Note the classes of new frames, of which row i has counts[i]; gives each row's new units."""
        units = []
        for row, (classes, count) in enumerate(zip(best, counts, strict=True)):
            units.append(collapse_after(self.labels[row], classes[:count], blank))
            self.labels[row] = classes[count - 1] if count else self.labels[row]
            self.frames[row] += count
        return units


class Places:
    """Where `count` new frames of each row stand behind those that it has seen.

    Rows may have seen different numbers of frames; what a row gets behind its own new frames, its next ones replace.
    `mask` [B, 1, T, K] is added to the scores: 0 where a frame sees another, else minus infinity.
    """

    def __init__(self, seen: list[int], count: int, like: Tensor) -> None:
        self.even = len(set(seen)) == 1
        self.start, self.end = max(seen), max(seen) + count
        first = torch.tensor(seen[:1] if self.even else seen, device=like.device)[:, None]
        self.positions = first + torch.arange(count, device=like.device)  # [B, T], or [1, T] where all rows are even
        later = torch.arange(self.end, device=like.device) > self.positions[:, None, :, None]  # [B, 1, T, K]
        self.mask = torch.zeros(later.shape, dtype=like.dtype, device=like.device).masked_fill_(later, float("-inf"))


def collapse_after(label: int, frames: list[int], blank: int) -> list[int]:
    """Merge runs in classes that follow a frame of class `label`, then drop blanks."""
    return [now for before, now in pairwise([label, *frames]) if now not in (before, blank)]


def _written(buffer: Tensor | None, new: Tensor, places: Places) -> Tensor:
    """Give the buffer with `new` at its places, or a larger one if it has no room."""
    batch, heads, _, width = new.shape
    room = 0 if buffer is None else buffer.shape[2]
    if places.end > room:
        larger = new.new_zeros(batch, heads, max(FIRST, 2 * room, places.end), width)
        if buffer is not None:
            larger[:, :, :room] = buffer
        buffer = larger
    assert buffer is not None, "made above"
    if places.even:
        buffer[:, :, places.start:places.end] = new
    else:
        rows = torch.arange(batch, device=new.device)[:, None]
        buffer[rows, :, places.positions] = new.transpose(1, 2)
    return buffer
