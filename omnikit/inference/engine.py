"""Many answers at once with one model: what begins them, steps them and gives their events.

Whoever drives an engine calls `step` until it gives False; every conversation takes the events of its own answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from omnikit.contracts.types import Sample
from omnikit.errors import ConfigError, OmnikitError
from omnikit.inference.answer import Event
from omnikit.inference.answer_usage import AnswerUsage
from omnikit.inference.prefix_cache import PrefixCache

FinishReason = Literal["stop", "length", "cancelled", "noise"]
LOGPROBS = 20  # alternatives of a token at most, as in OpenAI's API


@dataclass(frozen=True)
class AnswerOptions:
    """How one answer is made; None takes what the recipe's `generate` gives.

    Args:
        max_new_tokens: tokens at most, the one that ends it included.
        temperature: 0 takes the most probable token.
        top_p: draws among the most probable tokens that together have this probability.
        top_k: among this many of the most probable tokens; 0 for all.
        stop: texts that end the answer; they are not part of it.
        seed: of the answer's own draws; None: the engine draws one.
        speak: False gives text only.
        omega: codes of a segment of audio at least.
        independent: True makes each segment a waveform of its own.
        logprobs: alternatives that are given for each token beside its log probability; None: no log probabilities.

    Raises:
        ConfigError: a value is impossible.
    """

    max_new_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    speak: bool = True
    omega: int = 10
    independent: bool = False
    logprobs: int | None = None
    top_k: int | None = None

    def __post_init__(self) -> None:
        if self.max_new_tokens is not None and self.max_new_tokens < 1:
            raise ConfigError(f"max_new_tokens is {self.max_new_tokens}, but must be a whole number of at least 1.")
        if self.temperature is not None and not 0 <= self.temperature < float("inf"):
            raise ConfigError(f"temperature is {self.temperature}, but must be a number of at least 0.")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p is {self.top_p}, but must be above 0 and at most 1.")
        if self.top_k is not None and self.top_k < 0:
            raise ConfigError(f"top_k is {self.top_k}, but must be a whole number of at least 0.")
        if "" in self.stop:
            raise ConfigError("stop holds an empty text, but each text that ends an answer needs a character; leave it out.")
        if self.omega < 1:
            raise ConfigError(f"omega is {self.omega}, but must be a whole number of at least 1.")
        if self.logprobs is not None and not 0 <= self.logprobs <= LOGPROBS:
            raise ConfigError(f"logprobs is {self.logprobs}, but must be a whole number from 0 to {LOGPROBS}.")


class AnswerStream(Protocol):
    """One answer; owned by one conversation.

    - done: the answer is complete, and its last event was taken.
    - error: why it ended early; None where it did not.
    - finish_reason: None while it is being made, or where `error` states why it ended.
    - prompt_tokens: positions of its prompt; cached_tokens: those of them that a prefix cache had; answer_tokens: its own.
    - usage: all of these by modality, also of an answer that was cancelled.
    """

    @property
    def done(self) -> bool: ...
    @property
    def error(self) -> OmnikitError | None: ...
    @property
    def finish_reason(self) -> FinishReason | None: ...
    @property
    def prompt_tokens(self) -> int: ...
    @property
    def cached_tokens(self) -> int: ...
    @property
    def answer_tokens(self) -> int: ...
    @property
    def usage(self) -> AnswerUsage: ...

    def take(self) -> list[Event]:
        """Give the events that are ready, without waiting."""

    def cancel(self) -> None:
        """End the answer and free what it holds, whatever phase it is in; from another thread, when the step ends that runs."""


class AnswerEngine(Protocol):
    """Makes any number of answers with one copy of the weights; may be used from several threads, `step` from one."""

    def begin(self, sample: Sample, options: AnswerOptions, prefix: PrefixCache | None = None) -> AnswerStream:
        """Begin the answer to a sample's last question.

        Args:
            prefix: the conversation's own cache of its earlier turns.

        Raises:
            AdmissionError: as many answers are begun as the engine takes.
            DataError: the sample cannot be used, or is longer than the context.
            PlanError: the model cannot answer, or a part of it cannot stream.
        """

    def step(self) -> bool:
        """Do one step of decoding for all running answers; gives False when none runs."""
