"""What a live session reports: `at` is the input clock in milliseconds, `item` the id of the turn or answer it is about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class LiveEvent:
    """Any of the events below."""

    at: int
    item: str


@dataclass(frozen=True)
class SpeechStarted(LiveEvent):
    """The user speaks; the turn `item` begins at `start_ms`, its padding included."""

    start_ms: int


@dataclass(frozen=True)
class SpeechStopped(LiveEvent):
    """The user is silent; the turn `item` ends at `end_ms`, its padding included."""

    end_ms: int


@dataclass(frozen=True)
class TurnCommitted(LiveEvent):
    """The turn `item` is complete."""


@dataclass(frozen=True)
class TurnDecided(LiveEvent):
    """What becomes of the turn `item`.

    Args:
        state: "query" is answered; "noise" is not, and is no part of the history; "dropped" came while nothing may interrupt.
        detected: the state that the model predicted, where it predicts any.
    """

    state: Literal["query", "noise", "dropped"]
    detected: str | None = None


@dataclass(frozen=True)
class TurnsDropped(LiveEvent):
    """The oldest turns and answers are no longer part of the prompt, because the context of the backbone is full."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class SpeculationDiscarded(LiveEvent):
    """The user went on, so the answer that had begun early is discarded; nothing of it was given."""


@dataclass(frozen=True)
class AnswerStarted(LiveEvent):
    """The answer `item` to the turn `turn` begins."""

    turn: str


@dataclass(frozen=True)
class TextDelta(LiveEvent):
    """The next text of the answer."""

    text: str


@dataclass(frozen=True, eq=False)
class AudioDelta(LiveEvent):
    """Audio [N] of the answer from its sample `start` on; after Resumed it begins where playback was held."""

    waveform: NDArray[np.float32]
    sample_rate: int
    start: int


@dataclass(frozen=True)
class Paused(LiveEvent):
    """The user speaks: playback of the answer is held at `played_ms`, and what was sent beyond it must not be played."""

    played_ms: int


@dataclass(frozen=True)
class Resumed(LiveEvent):
    """The user's turn was no question: the answer goes on from `played_ms`; its audio from there on follows again."""

    played_ms: int


@dataclass(frozen=True)
class Interrupted(LiveEvent):
    """The answer ends here; `text` are the words whose audio was played, which is what the history holds of it."""

    played_ms: int
    text: str


@dataclass(frozen=True)
class Truncated(LiveEvent):
    """By request, the history holds of the answer what was played until `played_ms`, which is `text`."""

    played_ms: int
    text: str


@dataclass(frozen=True)
class AnswerDone(LiveEvent):
    """Nothing more is generated of the answer; each AnswerStarted is followed by one of these."""

    reason: Literal["stop", "length", "noise", "cancelled", "interrupted", "error"]


@dataclass(frozen=True)
class IdleTimeout(LiveEvent):
    """Since the answer `item` ended nobody spoke for `silence_ms`."""

    silence_ms: int


@dataclass(frozen=True)
class LiveError(LiveEvent):
    """Something failed; the conversation goes on."""

    message: str
