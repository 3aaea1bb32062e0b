"""The engine: which answer reads its prompt, which decodes, which waits; one step at a time for all of them.

A step reads at most `prefill` positions of prompts, then one token of every answer that decodes, so that no prompt holds up
the answers that run. Answers that found no row wait in order of their arrival.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic

import torch
from torch import Tensor

from omnikit.contracts.types import Features, Sample
from omnikit.data.batch.collate import to_device
from omnikit.errors import AdmissionError, OmnikitError, RunError
from omnikit.inference.answer import Event, TokenLogprob
from omnikit.inference.answer_states import NOISE
from omnikit.inference.engine import AnswerOptions, FinishReason
from omnikit.inference.fed_codes import FedCodes
from omnikit.inference.prefix_cache import PrefixCache, whole_signals, without_prefix
from omnikit.inference.scheduler.planning import EngineParts, plan_answer
from omnikit.inference.scheduler.row_memory import Row, Rows
from omnikit.inference.scheduler.running_answer import RunningAnswer, head_row
from omnikit.inference.session import Session
from omnikit.inference.shared_head import SharedHead
from omnikit.inference.token_choice import choose_tokens, log_probabilities
from omnikit.inference.turn_detection import turn_state
from omnikit.taps import Taps


@dataclass(frozen=True)
class EngineLimits:
    """How much an engine does at the same time.

    Args:
        rows: answers that run.
        waiting: answers that wait for a row; one more is refused.
        prefill: positions of prompts that a step reads.
        positions: of the memory for keys and values, rows times the longest prompt with its answer; an answer for which there
            is no room waits. None: no limit.
    """

    rows: int = 16
    waiting: int = 64
    prefill: int = 512
    positions: int | None = None


@dataclass(eq=False)
class Active(Generic[Row]):
    """An answer with its row; `token` is what the row reads next, None while it reads its prompt."""

    answer: RunningAnswer
    row: Row
    token: int | None = None


class Scheduler(Generic[Row]):
    """Owns the queue and the rows of one model's answers.

    Args:
        session: the model; it may be used for other things between steps.
        rows: where keys and values lie.
        limits: how much is done at the same time.
        shared: steps the speech heads of all answers together.
    """

    def __init__(self, session: Session, rows: Rows[Row], limits: EngineLimits | None = None,
                 shared: SharedHead | None = None) -> None:
        self.session, self.rows, self.limits, self.shared = session, rows, limits or EngineLimits(), shared
        self._waiting: deque[RunningAnswer] = deque()
        self._active: list[Active[Row]] = []
        self._lock = threading.Lock()  # of a step
        self._queue = threading.Lock()  # of what waits, never held while a model runs
        self._parts = EngineParts(session, torch.Generator().manual_seed(session.plan.recipe.seed), shared)

    @property
    def running(self) -> int:
        """Answers that hold a row."""
        return len(self._active)

    @property
    def waiting(self) -> int:
        """Answers that wait for a row."""
        return len(self._waiting)

    def begin(self, sample: Sample, options: AnswerOptions, prefix: PrefixCache | None = None) -> RunningAnswer:
        """Begin an answer, see omnikit.inference.engine.AnswerEngine."""
        self._admit()
        plan, events = plan_answer(self._parts, sample, options, prefix)
        answer = RunningAnswer(plan, events, self._sweep, FedCodes.of(self.session.model, 1))
        with self._queue:
            self._admit()
            self._waiting.append(answer)
        return answer

    def _admit(self) -> None:
        begun, limit = self.running + self.waiting, self.limits.rows + self.limits.waiting
        if begun >= limit:
            raise AdmissionError(f"{begun} answers run or wait, and the limit is {limit}; ask again later, or raise the limit.")

    @torch.no_grad()
    def step(self) -> bool:
        """Do one step of all running answers; gives False when none runs."""
        with self._lock:
            self._remove_cancelled()
            self._prefill()
            decoding = [each for each in self._active if each.token is not None]
            if decoding:
                with self._ending(decoding):
                    self._decode(decoding)
            self._remove_cancelled()
            return bool(self._active or self._waiting)

    def _prefill(self) -> None:
        """Read prompts in order of arrival until the step's positions are used; of those with media one."""
        left = self.limits.prefill
        while left > 0 and (active := self._next_prompt()) is not None:
            answer = active.answer
            assert answer.inputs is not None, "a prompt that is read has inputs"
            count = len(answer.inputs) if answer.read_at_once else min(left, len(answer.inputs))
            with self._ending([active]):
                self._read(active, answer.inputs[:count])
            left = 0 if answer.has_media and any(each.token is not None for each in self._active) else left - count

    def _read(self, active: Active[Row], inputs: Tensor) -> None:
        """Read the next positions [N, D] of a prompt, and choose the first token behind the last one."""
        answer, start = active.answer, self.rows.length(active.row)
        hidden = self.rows.prefill(active.row, inputs)
        assert answer.inputs is not None, "a prompt that is read has inputs"
        answer.inputs = answer.inputs[len(inputs):]
        if self._is_noise(answer, hidden, start):
            self._end(active, "noise")
        elif not len(answer.inputs):
            self._choose([active], hidden[-1:])

    def _next_prompt(self) -> Active[Row] | None:
        """Give the first answer that reads its prompt, one that waits if a row is free; None where there is none."""
        while True:
            for active in self._active:
                if active.token is None:
                    return active
            with self._queue:
                if not self._waiting or not self._has_room(self._waiting[0]):
                    return None
                answer = self._waiting.popleft()
                active = Active(answer, self.rows.open())
                self._active.append(active)
            with self._ending([active]):
                self._begin_prompt(active)

    def _has_room(self, answer: RunningAnswer) -> bool:
        """Say whether a row is free, and the memory for it; an answer alone always runs."""
        longest = max(each.longest for each in (answer, *(active.answer for active in self._active)))
        rows, positions = len(self._active) + 1, self.limits.positions
        return rows <= self.limits.rows and (rows == 1 or positions is None or rows * longest <= positions)

    def _begin_prompt(self, active: Active[Row]) -> None:
        """Make the inputs of a prompt, without those positions that its conversation's cache has."""
        answer, plan = active.answer, active.answer.plan
        batch = plan.batch
        if plan.prefix is not None:
            found, saved = plan.prefix.find(self, plan.keys)
            count = whole_signals(batch, min(found, plan.turn.position if plan.turn.position is not None else found,
                                             batch.tokens.shape[1] - 1))
            if saved is not None and count:
                self.rows.load(active.row, saved, count)
                batch, answer.cached_tokens = without_prefix(batch, count), count
        answer.has_media = bool(batch.signals)
        given = plan.prefix.encoded.given(batch) if plan.prefix is not None else {}
        taps = Taps(self.session.model, to_device(batch, self.session.device), given)
        answer.inputs = taps.inputs[0]
        if taps.layout is not None:
            self.rows.set_layout(active.row, taps.layout)
            answer.read_at_once = True

    def _is_noise(self, answer: RunningAnswer, hidden: Tensor, start: int) -> bool:
        """Read the state of the question where the positions from `start`, hidden [N, D], decide it."""
        turn, state = answer.plan.turn, None
        if turn.position is not None and start <= turn.position < start + len(hidden):
            state = turn_state(self.session.model, hidden[turn.position - start])
        elif turn.state and start == answer.cached_tokens:
            state = turn.state
        if state:
            answer.emit([Event(answer.events.elapsed(), state=state)])
        return state == NOISE

    def _decode(self, active: Sequence[Active[Row]]) -> None:
        tokens = torch.tensor([each.token for each in active]).to(self.session.device, non_blocking=True)
        inputs = self.session.model.language_model().embed(tokens[:, None])[:, 0]  # [B, D]
        if any(each.answer.fed for each in active):
            inputs = torch.stack([each.answer.next_input(vector) for each, vector in zip(active, inputs, strict=True)])
        self._choose(active, self.rows.step([each.row for each in active], inputs))

    def _choose(self, active: Sequence[Active[Row]], hidden: Tensor) -> None:
        """Choose the next token of each answer by its hidden state [B, D]."""
        last = [row for row, each in enumerate(active) if each.answer.tokens and each.answer.finished_tokens]
        logits = self.session.model.language_model().logits(hidden)
        tokens = choose_tokens(logits, [each.answer.plan.tokens for each in active])
        chosen: list[int] = tokens.tolist()  # the one place where a step waits for the accelerator
        logprobs = self._logprobs(active, logits, tokens)
        for row, each in enumerate(active):
            with self._ending([each]):
                if row in last:
                    each.answer.push_last(hidden[row:row + 1])
                else:
                    each.answer.push(hidden[row:row + 1], chosen[row], logprobs.get(row))
                    each.token = chosen[row]
        self._speak([each for each in active if not each.answer.complete])
        for row, each in enumerate(active):
            if not each.answer.complete and each.answer.is_last(after=row in last):
                with self._ending([each]):
                    self._complete(each)

    def _speak(self, active: Sequence[Active[Row]]) -> None:
        """Give the audio of a step: the heads of all answers together where they can, then each one's codec."""
        due: list[tuple[Active[Row], Features]] = []
        for each in active:
            with self._ending([each]):
                features = each.answer.events.head_features()
                if features is not None:
                    due.append((each, features))
                else:
                    each.answer.emit(each.answer.events.speak())
        if not due or self.shared is None:
            return
        with self._ending([each for each, _ in due]):
            codes = self.shared.step([features for _, features in due], [head_row(each.answer) for each, _ in due])
            for (each, features), new in zip(due, codes, strict=True):
                with self._ending([each]):
                    each.answer.emit(each.answer.events.speak_codes(new, features.data.shape[1]))

    def _logprobs(self, active: Sequence[Active[Row]], logits: Tensor, tokens: Tensor) -> dict[int, TokenLogprob]:
        """Give the log probabilities of the answers that ask for them, by row."""
        found = {}
        for row, each in enumerate(active):
            count, text = each.answer.plan.tokens.logprobs, each.answer.plan.tokenizer.raw
            if count is not None:
                chosen, best = log_probabilities(logits[row:row + 1], tokens[row:row + 1], count)
                found[row] = TokenLogprob(text([int(tokens[row])]), chosen[0], tuple((text([i]), p) for i, p in best[0]))
        return found

    def _complete(self, active: Active[Row]) -> None:
        active.answer.emit(active.answer.events.finish())
        self._end(active, active.answer.reason)

    @contextmanager
    def _ending(self, active: Sequence[Active[Row]]) -> Iterator[None]:
        """End some answers where their step fails; what is not the user's error goes on to whoever drives the engine."""
        try:
            yield
        except OmnikitError as error:
            self._end_all(active, error)
        except BaseException:
            self._end_all(active, RunError("The answer ended early, because the engine failed; the log has the error."))
            raise

    def _end_all(self, active: Sequence[Active[Row]], error: OmnikitError) -> None:
        for each in active:
            if each in self._active:
                self._end(each, None, error)

    def _end(self, active: Active[Row], reason: FinishReason | None, error: OmnikitError | None = None) -> None:
        with self._queue:
            self._active.remove(active)
        plan, saved = active.answer.plan, self.rows.save(active.row) if active.answer.plan.prefix is not None else None
        if plan.prefix is not None and saved is not None and saved.length:
            plan.prefix.store(self, active.answer.keys, saved)
        self.rows.close(active.row)
        active.answer.events.close()
        active.answer.end(reason, error)

    def _sweep(self) -> None:
        """Free cancelled answers now, or leave them to the step that runs."""
        if self._lock.acquire(blocking=False):
            try:
                self._remove_cancelled()
            finally:
                self._lock.release()

    def _remove_cancelled(self) -> None:
        with self._queue:
            waiting = [answer for answer in self._waiting if answer.cancelling]
            for answer in waiting:
                self._waiting.remove(answer)
        for answer in waiting:
            answer.end("cancelled")
        for active in [each for each in self._active if each.answer.cancelling]:
            self._end(active, "cancelled")
