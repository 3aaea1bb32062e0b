"""What was recorded of a scenario: where the user's elements stood, what came from the model, what was played of it."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from omnikit.evaluation.duplex.scenario import Element, Scenario
from omnikit.inference.text_alignment import Mark

Samples = NDArray[np.float32]
Kind = Literal["speech_started", "speech_stopped", "turn_decided", "answer_started", "text", "audio", "paused", "resumed",
               "interrupted", "answer_done", "error"]
FRAME_MS = 32  # of the input clock, in which everything is played
_WORD = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]|[^\s\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]+")


@dataclass(frozen=True, eq=False)
class PeerEvent:
    """What the model's side reported.

    Args:
        at: milliseconds of the user's audio that were sent before it came.
        item: the turn or the answer; "" for the answer that plays.
        text: of the answer; of "turn_decided" the decision, of "answer_done" the reason, of "error" the message.
        audio: [N] at `rate`, from the answer's sample `start` on; None for start: behind what came before.
        played_ms: how much of the answer was played, where the model's side counts it.
    """

    at: int
    kind: Kind
    item: str = ""
    text: str = ""
    audio: Samples | None = None
    rate: int = 0
    start: int | None = None
    played_ms: int | None = None

    @property
    def audio_ms(self) -> float:
        """Milliseconds of its audio."""
        return 1000 * len(self.audio) / self.rate if self.audio is not None and self.rate else 0.0


@dataclass(frozen=True)
class Span:
    """Where an element stood in the user's audio, in milliseconds.

    Args:
        over: the answer that was being played when it began; "" for none.
    """

    element: Element
    start: float
    end: float
    over: str = ""


@dataclass(frozen=True)
class PlayedSegment:
    """Audio of an answer that was played without a gap: its samples from `first` on, from `start` to `end` milliseconds."""

    item: str
    first: int
    start: float
    end: float


@dataclass(frozen=True)
class Word:
    """A word that was played, in milliseconds; a word of an answer without audio has the time at which it came."""

    text: str
    start: float
    end: float


@dataclass(frozen=True, eq=False)
class Conversation:
    """A scenario that was played.

    Args:
        user, output: both sides' audio [N], from the same moment on; `output` is what was played.
        stops: (milliseconds, answer) at which playback of an answer was stopped before its end.
        history: answer → its text in the model's history at the end; an answer is missing where that is unknown.
        marks: answer → (sample, characters), where the model's side gives them.
    """

    scenario: Scenario
    spans: Sequence[Span]
    events: Sequence[PeerEvent]
    segments: Sequence[PlayedSegment]
    user: Samples
    user_rate: int
    output: Samples
    output_rate: int
    stops: Sequence[tuple[int, str]] = ()
    history: Mapping[str, str] = field(default_factory=dict)
    marks: Mapping[str, Sequence[Mark]] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Duration."""
        return len(self.user) / self.user_rate

    @property
    def answers(self) -> list[str]:
        """Give the answers in the order in which they began."""
        return [event.item for event in self.events if event.kind == "answer_started"]

    def began(self, item: str) -> float | None:
        """Give when an answer's audio began to play, or its text began where it has none; None for an empty answer."""
        found = [one.start for one in self.segments if one.item == item]
        return min(found) if found else next((float(one.at) for one in self.events if one.item == item and one.text
                                              and one.kind == "text"), None)

    def text(self, item: str) -> str:
        """Give all text that came of an answer."""
        return "".join(one.text for one in self.events if one.item == item and one.kind == "text")

    def played_samples(self, item: str) -> int:
        """Give the position in an answer's audio until which it was played."""
        return max((one.first + round((one.end - one.start) * self.output_rate / 1000) for one in self.segments
                    if one.item == item), default=0)

    def given_samples(self, item: str) -> int:
        """Count the samples that came of an answer, those that came twice once."""
        end = 0
        for event in self.events:
            if event.item == item and event.audio is not None:
                end = max(end, (end if event.start is None else event.start) + len(event.audio))
        return end

    def alignment(self, item: str) -> list[Mark]:
        """Give (sample, characters) of an answer: its marks, or else characters spread evenly over its audio."""
        found = [mark for mark in self.marks.get(item, ()) if mark[0]]
        end = (self.given_samples(item), len(self.text(item)))
        return found if found and found[-1][1] >= end[1] else [*found, end]

    def words(self) -> list[Word]:
        """Give the words that were played to their end, in order."""
        return sorted((word for item in self.answers for word in self._words(item)), key=lambda word: word.start)

    def _words(self, item: str) -> list[Word]:
        if not self.given_samples(item):
            return [Word(found.group(), float(event.at), float(event.at)) for event in self.events
                    if event.item == item and event.kind == "text" for found in _WORD.finditer(event.text)]
        marks, segments = self.alignment(item), [one for one in self.segments if one.item == item]
        return [Word(word.group(), *times) for word in _WORD.finditer(self.text(item))
                if (times := self._times(segments, _sample(marks, word.start()), _sample(marks, word.end())))]

    def _times(self, segments: Sequence[PlayedSegment], first: int, end: int) -> tuple[float, float] | None:
        """Give from when to when a piece of an answer's audio was played; None where its end was not."""
        start, stop = self._when(segments, first), self._when(segments, end)
        return None if start is None or stop is None else (start, stop)

    def _when(self, segments: Sequence[PlayedSegment], sample: int) -> float | None:
        for one in segments:
            at = one.start + 1000 * (sample - one.first) / self.output_rate
            if one.start <= at <= one.end + 0.5:
                return min(at, one.end)
        return None


def _sample(marks: Sequence[Mark], character: int) -> int:
    """Give at which sample a position of the text stands, evenly between marks."""
    place = bisect_right([mark[1] for mark in marks], character - 1)
    before = marks[place - 1] if place else (0, 0)
    after = marks[min(place, len(marks) - 1)]
    width = after[1] - before[1]
    return before[0] + (after[0] - before[0]) * (character - before[1]) // width if width > 0 else after[0]
