"""One answer that an engine makes: its phase, its events, and what it needs of the model's next step."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from omnikit.contracts.codes import Code
from omnikit.contracts.types import Batch
from omnikit.data.text.tokenizer import Tokenizer
from omnikit.errors import OmnikitError
from omnikit.inference.answer import Event, TokenLogprob
from omnikit.inference.answer_events import AnswerEvents
from omnikit.inference.answer_usage import AnswerUsage, TokenCounts
from omnikit.inference.engine import FinishReason
from omnikit.inference.fed_codes import FedCodes
from omnikit.inference.generate import DecodingStep
from omnikit.inference.prefix_cache import Key, PrefixCache
from omnikit.inference.row_numbers import RowNumber
from omnikit.inference.speech_stream import SpeechStream
from omnikit.inference.token_choice import TokenOptions
from omnikit.inference.turn_detection import QuestionTurn


@dataclass(frozen=True)
class AnswerPlan:
    """What is known of an answer when it begins.

    Args:
        batch: its prompt, on the host.
        tokens: how its tokens are chosen.
        ends: ids that end it.
        limit: tokens at most.
        one_more: a head takes the hidden state after the last token.
        turn: where the state of its question is read.
        prefix: its conversation's cache.
        keys: of the prompt's positions, where there is such a cache.
        modalities: input branch → what it takes.
    """

    batch: Batch
    tokens: TokenOptions
    ends: tuple[int, ...]
    limit: int
    one_more: bool
    tokenizer: Tokenizer
    turn: QuestionTurn
    prefix: PrefixCache | None = None
    keys: Sequence[Key] = ()
    modalities: Mapping[str, str] = field(default_factory=dict)


class RunningAnswer:
    """See omnikit.inference.engine.AnswerStream for what a conversation uses of it.

    Args:
        plan: what is known of it.
        events: makes its events.
        cancelled: is called once when it is cancelled.
        fed: the codes that the backbone reads; None where it reads none.
    """

    def __init__(self, plan: AnswerPlan, events: AnswerEvents, cancelled: Callable[[], None],
                 fed: FedCodes | None = None) -> None:
        self.plan, self.events, self.fed = plan, events, fed
        self.error: OmnikitError | None = None
        self.finish_reason: FinishReason | None = None
        self.prompt_tokens, self.cached_tokens = plan.batch.tokens.shape[1], 0
        self.inputs: Tensor | None = None  # [L, D] of the prompt that is not read yet
        self.has_media = False  # signals are encoded for it
        self.read_at_once = False  # the backbone takes its prompt in one step
        self.tokens: list[int] = []
        self._codes, self._steps = 0, 0  # codes of its audio; steps of the backbone behind its prompt
        self.complete = False  # no more events come
        self.cancelling = False
        self._ready: deque[Event] = deque()
        self._notify = cancelled
        self._taking = threading.Lock()

    @property
    def done(self) -> bool:
        """Whether it is complete and its last event was taken."""
        return self.complete and not self._ready

    @property
    def answer_tokens(self) -> int:
        """Tokens of the answer so far, the one that ended it included."""
        return len(self.tokens)

    @property
    def usage(self) -> AnswerUsage:
        """Tokens of its prompt and of the answer so far."""
        return AnswerUsage(self._prompt_counts(self.prompt_tokens), self._prompt_counts(self.cached_tokens),
                           TokenCounts(self.answer_tokens, self._codes))

    def _prompt_counts(self, end: int) -> TokenCounts:
        """Count the first `end` positions of the prompt."""
        found = {"audio": 0, "image": 0}
        for branch, positions in self.plan.batch.slots.items():
            kind = "audio" if self.plan.modalities.get(branch) == "audio" else "image"
            found[kind] += int((positions < end).sum())
        return TokenCounts(end - sum(found.values()), **found)

    @property
    def longest(self) -> int:
        """Positions of its prompt and its tokens at most; with codes that the backbone reads, all that there are."""
        return self.fed.context if self.fed else self.prompt_tokens + self.plan.limit

    @property
    def keys(self) -> list[Key]:
        """The keys of its positions that a later turn may begin with: codes are read in the turn that they are emitted in."""
        return [*self.plan.keys, *(() if self.fed else self.tokens)]

    def take(self) -> list[Event]:
        """Give the events that are ready, without waiting."""
        with self._taking:
            return [self._ready.popleft() for _ in range(len(self._ready))]

    def cancel(self) -> None:
        """End it; after this it gives no more events."""
        if not self.complete and not self.cancelling:
            self.cancelling = True
            self._notify()

    # ---- for the engine ----

    def emit(self, events: Iterable[Event]) -> None:
        """Make events ready, one by one as they come."""
        for event in events:
            self._codes += len(event.codes)
            self._ready.append(event)

    def end(self, reason: FinishReason | None, error: OmnikitError | None = None) -> None:
        """Complete it; a cancelled one drops the events that nobody took."""
        if reason == "cancelled":
            with self._taking:
                self._ready.clear()
        self.finish_reason, self.error, self.complete, self.inputs = reason, error, True, None

    @property
    def finished_tokens(self) -> bool:
        """Whether its last token was the last one."""
        return self.events.ended or len(self.tokens) >= self.plan.limit or self.tokens[-1] in self.plan.ends

    @property
    def reason(self) -> FinishReason:
        """Why its last token was the last one."""
        if self.events.decoder.noisy:
            return "noise"
        return "stop" if self.events.stop.found or self.tokens[-1] in self.plan.ends else "length"

    def push(self, hidden: Tensor, token: int, logprob: TokenLogprob | None) -> None:
        """Take a token and the hidden state [1, D] that predicted it; gives its text."""
        self.tokens.append(token)
        self._steps += 1
        given = () if logprob is None or token in self.plan.ends else (logprob,)
        self.emit(self.events.push_text(DecodingStep(hidden, torch.tensor([token]), self._fed_codes(hidden)), given))

    def push_last(self, hidden: Tensor) -> None:
        """Take the hidden state [1, D] after the last token, or of a step at which codes alone are emitted."""
        self._steps += 1
        self.emit(self.events.push_text(DecodingStep(hidden, None, self._fed_codes(hidden))))

    def is_last(self, *, after: bool) -> bool:
        """Say whether no step follows; `after`: this one was behind the last token."""
        if self.fed is not None and self.events.speech is not None and not self.events.ended:
            full = self.prompt_tokens + self._steps >= self.fed.context
            return self.finished_tokens and (self.fed.finished or full)
        return after or (self.finished_tokens and (self.events.ended or not self.plan.one_more))

    def next_input(self, vector: Tensor) -> Tensor:
        """Give the backbone's next input [D] for the embedding [D] of its last token."""
        return self.fed.added(vector[None, None])[0, 0] if self.fed else vector

    def _fed_codes(self, hidden: Tensor) -> list[list[Code]] | None:
        return self.fed.step(hidden[:, None]) if self.fed else None


def head_row(answer: RunningAnswer) -> RowNumber:
    """Give an answer's row of a shared head."""
    assert isinstance(answer.events.speech, SpeechStream), "only then there is a shared head"
    return answer.events.speech.head_stream.row
