"""What one conversation keeps of its earlier turns, so that its next prompt is not read from the beginning.

Two prompts begin alike where their positions have equal keys: the id of a token, or the hash of the audio, image or video that
stands there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile

from omnikit.contracts.streaming import SavedPositions
from omnikit.contracts.types import Batch, Signal, Targets
from omnikit.inference.encoded_signals import EncodedSignals, signal_digest

Key = int | str
LIMIT = 512 * 2**20  # bytes that a conversation keeps at most


class PrefixCache:
    """Keys and values of the positions that a conversation's last answer stood on; owned by one conversation.

    Args:
        limit: bytes at most; of a longer conversation the beginning is kept.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit, self.encoded = limit, EncodedSignals()
        self._owner: object = None
        self._keys: tuple[Key, ...] = ()
        self._saved: SavedPositions | None = None

    @property
    def bytes(self) -> int:
        """Memory that it takes."""
        return self._saved.bytes if self._saved else 0

    @property
    def length(self) -> int:
        """Positions that it holds."""
        return len(self._keys)

    def clear(self) -> None:
        """Drop everything."""
        self._owner, self._keys, self._saved = None, (), None

    def find(self, owner: object, keys: Sequence[Key]) -> tuple[int, SavedPositions | None]:
        """Give how many positions of a prompt are there, saved by the same owner, and what holds them."""
        if self._owner is not owner or self._saved is None:
            return 0, None
        return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(keys, self._keys, strict=False))), self._saved

    def store(self, owner: object, keys: Sequence[Key], saved: SavedPositions) -> None:
        """Replace what is there."""
        if saved.bytes > self.limit:
            saved = saved.cut(saved.length * self.limit // saved.bytes)
        self._owner, self._keys, self._saved = owner, tuple(keys[:saved.length]), saved


def position_keys(batch: Batch) -> list[Key]:
    """Give the key of each position of a prompt, a batch of one row on the host."""
    keys: list[Key] = batch.tokens[0].tolist()
    for branch, slots in batch.slots.items():
        positions, signals = iter(slots.tolist()), batch.signal_ranges(branch)
        for number, count in enumerate(batch.counts[branch]):
            text = batch.instructions[branch].ids[number].tolist() if branch in batch.instructions else ""
            medium = batch.media[branch][number] if branch in batch.media else ""
            held = " ".join(signal_digest(batch.signals[branch], signal) for signal in signals[number])
            key = f"{branch} {count} {held} {medium} {text}"
            for position in (next(positions) for _ in range(count)):
                keys[position] = key
    return keys


def whole_signals(batch: Batch, length: int) -> int:
    """Give the largest number of positions, at most `length`, behind which no signal of the prompt is cut."""
    for first, last in (span for spans in _spans(batch).values() for span in spans):
        if first < length <= last:
            return whole_signals(batch, first)
    return length


def without_prefix(batch: Batch, length: int) -> Batch:
    """Give a prompt without its first positions and the signals in them."""
    counts, signals, slots, rows, sizes, starts, texts, media = {}, {}, {}, {}, {}, {}, {}, {}
    begins = {branch: [first for first, _ in spans] for branch, spans in _spans(batch).items()} | batch.starts
    for branch, firsts in begins.items():
        left = [number for number, first in enumerate(firsts) if first >= length]
        if left:
            signal, ranges = batch.signals[branch], batch.signal_ranges(branch)
            inside = [each for number in left for each in ranges[number]]
            counts[branch] = [batch.counts[branch][number] for number in left]
            signals[branch] = Signal(signal.data[inside], signal.lengths[inside])
            if branch in batch.slots:
                slots[branch] = batch.slots[branch][batch.slots[branch] >= length] - length
            else:
                starts[branch] = [firsts[number] - length for number in left]
            if branch in batch.instructions:
                texts[branch] = Targets(batch.instructions[branch].ids[left], batch.instructions[branch].lengths[left])
            if branch in batch.media:
                media[branch] = [batch.media[branch][number] for number in left]
            rows[branch] = [0] * len(inside)
            sizes[branch] = [size for number, size in enumerate(batch.sizes.get(branch, ())) if number in inside]
    return replace(batch, tokens=batch.tokens[:, length:], lengths=batch.lengths - length, signals=signals, slots=slots,
                   counts=counts, rows=rows, sizes=sizes, starts=starts, instructions=texts, media=media)


def _spans(batch: Batch) -> dict[str, list[tuple[int, int]]]:
    """Give the first and the last position of each signal, by branch."""
    found: dict[str, list[tuple[int, int]]] = {}
    for branch, slots in batch.slots.items():
        positions, start = slots.tolist(), 0
        found[branch] = []
        for count in batch.counts[branch]:
            found[branch].append((positions[start], positions[start + count - 1]))
            start += count
    return found
