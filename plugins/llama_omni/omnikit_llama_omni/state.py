"""State of the unit head while an answer streams: keys and values of the frames so far, and the last raw label."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from omnikit.ops.kv_cache import RaggedKVCache

NONE = -1  # a label that no frame has


@dataclass
class UnitState:
    """Changed in place by the head's `step`.

    Args:
        frames: [B] frames of each row so far.
        labels: [B] class of each row's last frame, blanks included; NONE before the first.
        layers: keys and values of each layer.
        sources: for each row the frames, among its new ones, that the units of the last `advance` came from.
    """

    frames: list[int]
    labels: list[int]
    layers: list[RaggedKVCache] = field(default_factory=list)
    sources: list[list[int]] = field(default_factory=list)

    @classmethod
    def empty(cls, batch: int, layers: int) -> UnitState:
        """Give the state of `batch` rows without frames."""
        return cls([0] * batch, [NONE] * batch, [RaggedKVCache() for _ in range(layers)])

    def advance(self, best: list[list[int]], counts: list[int], blank: int) -> list[list[int]]:
        """Note the classes of new frames, of which row i has counts[i]; gives each row's new units."""
        units, self.sources = [], []
        for row, (classes, count) in enumerate(zip(best, counts, strict=True)):
            found = collapse_after(self.labels[row], classes[:count], blank)
            units.append([unit for _, unit in found])
            self.sources.append([frame for frame, _ in found])
            self.labels[row] = classes[count - 1] if count else self.labels[row]
            self.frames[row] += count
        return units


def collapse_after(label: int, frames: list[int], blank: int) -> list[tuple[int, int]]:
    """Merge runs in classes that follow a frame of class `label`, then drop blanks; gives (frame, class) of each."""
    return [(frame, now) for frame, (before, now) in enumerate(pairwise([label, *frames])) if now not in (before, blank)]
