"""A scripted engine and a scripted detection: what a live session does is then worked out by hand.

Audio has one value for each frame of 32 ms, whose amplitude is the probability of speech. An answer has a word and 320 ms of
audio in each step.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from doubles import make_plan, write_tokenizer
from numpy.typing import NDArray

from omnikit.contracts.types import Sample
from omnikit.errors import AdmissionError, DataError, OmnikitError
from omnikit.inference.answer import Event
from omnikit.inference.answer_usage import AnswerUsage, TokenCounts
from omnikit.inference.engine import AnswerOptions, FinishReason
from omnikit.inference.live.events import AudioDelta, LiveEvent, TextDelta
from omnikit.inference.live.session import LiveSession
from omnikit.inference.prefix_cache import PrefixCache
from omnikit.inference.session import Session, build
from omnikit.recipe.live import TurnPolicy

FRAME = 512
RATE = 24000  # of answers, Hz
STEP = 7680  # samples of a step: 320 ms
POLICY = TurnPolicy(min_speech_ms=64, min_silence_ms=320, prefix_padding_ms=64)


@dataclass(frozen=True)
class Amplitude:
    """The probability of speech is the amplitude of a frame's first sample."""

    sample_rate = 16000
    frame = FRAME

    def build(self) -> "AmplitudeVAD":
        return AmplitudeVAD()


class AmplitudeVAD:
    def init_state(self) -> dict[str, NDArray[np.float32]]:
        return {"frames": np.zeros(1, np.float32)}

    def step(self, frame: NDArray[np.float32],
             state: dict[str, NDArray[np.float32]]) -> tuple[float, dict[str, NDArray[np.float32]]]:
        return float(abs(frame[0])), {"frames": state["frames"] + 1}


@dataclass
class ScriptedAnswer:
    """One answer: a state, if any, in its first step, then a word and its audio in each."""

    words: list[str]
    state: str | None = None
    error: OmnikitError | None = None
    reason: FinishReason = "stop"
    prompt_tokens: int = 1
    cached_tokens: int = 0
    answer_tokens: int = 0
    finish_reason: FinishReason | None = None
    ready: list[Event] = field(default_factory=list)
    given: int = 0

    @property
    def done(self) -> bool:
        return self.finish_reason is not None and not self.ready

    @property
    def usage(self) -> AnswerUsage:
        return AnswerUsage(TokenCounts(self.prompt_tokens), TokenCounts(self.cached_tokens),
                           TokenCounts(self.answer_tokens, self.given))

    def take(self) -> list[Event]:
        found, self.ready = self.ready, []
        return found

    def cancel(self) -> None:
        if self.finish_reason is None:
            self.ready, self.finish_reason = [], "cancelled"

    def step(self) -> None:
        if self.state and not self.answer_tokens:
            self.ready.append(Event(0.0, state=self.state))
        self.answer_tokens += 1
        if self.state == "noise":
            self.finish_reason = "noise"
        elif self.given < len(self.words):
            text = ("" if self.given == 0 else " ") + self.words[self.given]
            self.given += 1
            samples = np.full(STEP, self.given / 10, np.float32)
            mark = (STEP * self.given, len(" ".join(self.words[:self.given])))
            self.ready += [Event(0.0, text=text), Event(0.0, codes=((self.given,),), waveform=samples, sample_rate=RATE,
                                                        marks=(mark,))]
        else:
            self.finish_reason = self.reason


@dataclass
class ScriptedEngine:
    """Gives one scripted answer after another; remembers what it was asked."""

    script: list[ScriptedAnswer]
    limit: int = 8
    asked: list[Sample] = field(default_factory=list)
    seeds: list[int | None] = field(default_factory=list)
    running: list[ScriptedAnswer] = field(default_factory=list)

    def begin(self, sample: Sample, options: AnswerOptions, prefix: PrefixCache | None = None) -> ScriptedAnswer:
        if sum(answer.finish_reason is None for answer in self.running) >= self.limit:
            raise AdmissionError("The engine is full; ask again later.")
        self.asked.append(sample)
        self.seeds.append(options.seed)
        answer = self.script[len(self.asked) - 1]
        if isinstance(answer.error, DataError):
            raise answer.error
        self.running.append(answer)
        return answer

    def step(self) -> bool:
        running = [answer for answer in self.running if answer.finish_reason is None]
        for answer in running:
            answer.step()
        return bool(running)


def answering(words: str, state: str | None = None) -> ScriptedAnswer:
    return ScriptedAnswer(words.split(), state)


def noise() -> ScriptedAnswer:
    return ScriptedAnswer([], "noise")


def session(folder: Path) -> Session:
    return build(make_plan(write_tokenizer(folder)), device="cpu")


def live(session: Session, *script: ScriptedAnswer, policy: TurnPolicy = POLICY, pace: int | None = 1) -> LiveSession:
    return LiveSession(session, ScriptedEngine(list(script)), policy, vad=Amplitude(), pace=pace)


def audio(*parts: tuple[float, int]) -> NDArray[np.float32]:
    """Frames of some amplitudes: (probability of speech, frames)."""
    return np.concatenate([np.full(FRAME * count, value, np.float32) for value, count in parts])


def speech(frames: int) -> tuple[float, int]:
    return 0.9, frames


def silence(frames: int) -> tuple[float, int]:
    return 0.0, frames


def names(events: Sequence[LiveEvent]) -> list[str]:
    """Give the kinds of events without the deltas, in order."""
    return [type(event).__name__ for event in events if not isinstance(event, TextDelta | AudioDelta)]


def text(events: Sequence[LiveEvent], item: str) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta) and event.item == item)


@dataclass
class FakeTime:
    """Time that passes only where somebody sleeps."""

    seconds: float = 0.0

    def now(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
