"""A client's loudspeaker: what the model's side gives is played in real time; what a stop takes away is never played."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from omnikit.evaluation.duplex.conversation import FRAME_MS, PeerEvent, PlayedSegment, Samples

RATE = 24000  # Hz, of an output without any audio


@dataclass
class Playback:
    """Audio that waits, and what was played of it.

    Args:
        at: milliseconds that were played, silence included.
        held: answers that were stopped; what comes of them is not played.
        waiting: (answer, its first sample, samples [N]).
        given: answer → samples that came of it.
    """

    at: int = 0
    rate: int = 0
    held: set[str] = field(default_factory=set)
    waiting: list[tuple[str, int, Samples]] = field(default_factory=list)
    given: dict[str, int] = field(default_factory=dict)
    segments: list[PlayedSegment] = field(default_factory=list)
    pieces: list[tuple[int, Samples]] = field(default_factory=list)  # (first sample of the output, samples)

    @property
    def item(self) -> str:
        """The answer that plays, or waits to be played; "" for none."""
        return self.waiting[0][0] if self.waiting else ""

    def give(self, event: PeerEvent) -> None:
        """Take audio of an answer."""
        assert event.audio is not None, "called for audio"
        self.rate = self.rate or event.rate
        start = self.given.get(event.item, 0) if event.start is None else event.start
        self.given[event.item] = max(self.given.get(event.item, 0), start + len(event.audio))
        if event.item not in self.held and len(event.audio):
            self.waiting.append((event.item, start, event.audio))

    def play(self) -> Samples:
        """Play the next 32 ms, silence where nothing waits; gives them [N] at `rate`, or at 24 kHz before the first audio."""
        rate = self.rate or RATE
        begin, end = self.at * rate // 1000, (self.at + FRAME_MS) * rate // 1000
        frame, filled = np.zeros(end - begin, dtype=np.float32), 0
        while self.waiting and filled < len(frame):
            item, first, audio = self.waiting.pop(0)
            piece, rest = audio[:len(frame) - filled], audio[len(frame) - filled:]
            frame[filled:filled + len(piece)] = piece
            self._note(item, first, begin + filled, len(piece))
            filled += len(piece)
            if len(rest):
                self.waiting.insert(0, (item, first + len(piece), rest))
        self.at += FRAME_MS
        if filled:
            self.pieces.append((begin, frame[:filled]))
        return frame

    def stop(self, item: str) -> int | None:
        """Stop an answer; gives how many milliseconds of it were played, None where nothing of it is left to play."""
        waits = any(name == item for name, _, _ in self.waiting)
        self.held.add(item)
        self.waiting = [one for one in self.waiting if one[0] != item]
        return self.played_ms(item) if waits else None

    def resume(self, item: str) -> None:
        """Let an answer that was stopped be played again, from what comes now."""
        self.held.discard(item)

    def played_samples(self, item: str) -> int:
        """Give the position until which an answer was played."""
        return max((one.first + round((one.end - one.start) * (self.rate or RATE) / 1000) for one in self.segments
                    if one.item == item), default=0)

    def played_ms(self, item: str) -> int:
        """Give the same in milliseconds."""
        return self.played_samples(item) * 1000 // (self.rate or RATE)

    def waveform(self) -> Samples:
        """Give all that was played [N], silence included."""
        found = np.zeros(self.at * (self.rate or RATE) // 1000, dtype=np.float32)
        for begin, piece in self.pieces:
            found[begin:begin + len(piece)] = piece[:len(found) - begin]
        return found

    def _note(self, item: str, first: int, begin: int, count: int) -> None:
        """Record that samples of an answer were played at a sample of the output."""
        start, end = 1000 * begin / self.rate, 1000 * (begin + count) / self.rate
        if self.segments:
            last = self.segments[-1]
            follows = last.item == item and abs(last.end - start) < 1e-6 and last.first + round(
                (last.end - last.start) * self.rate / 1000) == first
            if follows:
                self.segments[-1] = PlayedSegment(item, last.first, last.start, end)
                return
        self.segments.append(PlayedSegment(item, first, start, end))
