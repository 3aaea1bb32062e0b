"""What a conversation consists of: turns of the user, and answers with what was played of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from omnikit.contracts.types import ContentPart, Message
from omnikit.inference.answer import Event
from omnikit.inference.answer_usage import AnswerUsage
from omnikit.inference.live.played_text import text_until
from omnikit.inference.live.resampler import RATE
from omnikit.inference.text_alignment import Mark


@dataclass(eq=False)
class UserTurn:
    """A turn of the user, or a message that was put in.

    Args:
        state: what becomes of it; None while that is open.
        dropped: it is no longer part of the prompt, because the context is full.
    """

    id: str
    message: Message
    state: Literal["query", "noise", "dropped"] | None = None
    dropped: bool = False

    @property
    def messages(self) -> list[Message]:
        """Give its message; noise and turns that were dropped have none."""
        return [] if self.state in ("noise", "dropped") else [self.message]


@dataclass(eq=False)
class Reply:
    """An answer, from the moment it is asked of the engine.

    Args:
        turn: what it answers.
        spoken: it has audio, so that what was played counts; else what was given.
        seed: of its draws.
        prompt: what it is asked with, while it is generated.
        state: the state that the model gave the turn.
        decided: the turn is a query, and AnswerStarted was given.
        speculative: it began before the end of the turn, so nothing of it is given yet.
        ready: events of the engine that are not given yet.
        reason: why its generation ended; None while it runs. error: what failed.
        text: all text that was given. samples: all audio that was given, at `sample_rate`.
        audio: it in pieces, as long as it may be given again.
        marks: see omnikit.inference.answer.Event.
        position: samples of the input clock for which its audio played.
        reported: the caller reports what was played.
        paused: the user speaks, so nothing of it is given.
        cut: it was interrupted or truncated, so that the history holds what was played.
        over: AnswerDone was given. complete: all of it was given.
        dropped: it is no longer part of the prompt, because the context is full.
        usage: tokens that it took, when nothing more is generated.
    """

    id: str
    turn: str
    spoken: bool
    seed: int
    prompt: tuple[Message, ...] = ()
    state: str | None = None
    decided: bool = False
    speculative: bool = False
    ready: list[Event] = field(default_factory=list)
    reason: str | None = None
    error: str | None = None
    text: str = ""
    audio: list[NDArray[np.float32]] = field(default_factory=list)
    samples: int = 0
    sample_rate: int = RATE
    marks: list[Mark] = field(default_factory=list)
    position: int = 0
    reported: bool = False
    paused: bool = False
    cut: bool = False
    over: bool = False
    complete: bool = False
    dropped: bool = False
    usage: AnswerUsage = field(default_factory=AnswerUsage)

    @property
    def played(self) -> int:
        """Samples of its audio that were played."""
        return min(self.position * self.sample_rate // RATE, self.samples)

    @property
    def played_ms(self) -> int:
        """Milliseconds of its audio that were played."""
        return self.played * 1000 // self.sample_rate

    @property
    def active(self) -> bool:
        """Whether it can be interrupted: it is being generated, or its audio is not played to its end."""
        return self.decided and not self.cut and (not self.over or self.played < self.samples)

    @property
    def played_text(self) -> str:
        """The words that were played; all that was given where it has no audio."""
        if not self.spoken or (self.complete and self.played >= self.samples):
            return self.text
        return text_until(self.text, self.marks, self.played, self.sample_rate)

    def give_text(self, text: str) -> None:
        """Count text as given."""
        self.text += text

    def give_audio(self, event: Event) -> None:
        """Count a segment as given."""
        assert event.waveform is not None, "called for segments"
        self.audio.append(event.waveform)
        self.samples, self.sample_rate = self.samples + len(event.waveform), event.sample_rate
        self.marks += event.marks

    def play(self, samples: int) -> None:
        """Let the input clock run on by so many samples."""
        if self.decided and not (self.paused or self.cut or self.reported):
            self.position = min(self.position + samples, self.duration)
            if self.over and not self.active:
                self.audio = []

    @property
    def duration(self) -> int:
        """Samples of the input clock that the audio which was given takes."""
        return -(-self.samples * RATE // self.sample_rate)

    def rest(self) -> NDArray[np.float32]:
        """Give the audio that was given, but not played."""
        return np.concatenate([np.zeros(0, dtype=np.float32), *self.audio])[self.played:]

    def messages(self, *, now: bool) -> list[Message]:
        """Give it as a message of the history: nothing where no word was played; `now`: as if it were interrupted now."""
        text = (self.played_text if self.cut or (now and self.active) else self.text) if self.decided else ""
        return [Message("assistant", (ContentPart("text", text=text),), state=self.state)] if text else []
