"""Conversations at the same time against one after another: the same questions, model and number of tokens. One thread.

Also the time to first audio with 1, 4 and 16 of them, what an idle one keeps, and what its next turn saves by it.
"""

import time
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
from bench_table import Measures, Ratio, processor_time

from omnikit.contracts.types import ContentPart, Message
from omnikit.inference.engine import AnswerOptions
from omnikit.inference.prefix_cache import PrefixCache
from omnikit.inference.question import question
from omnikit.inference.scheduler.batch import BatchEngine
from omnikit.inference.scheduler.running_answer import RunningAnswer
from omnikit.inference.session import Session, build
from omnikit.plan.plan import make
from omnikit.recipe.compose import compose

CONVERSATIONS, TOKENS, ROUNDS, LIMIT = 8, 48, 3, 2.0
SIZES = {"backbone.dim": 512, "backbone.layers": 6, "backbone.heads": 8, "backbone.kv_heads": 4, "backbone.ffn": 1408}
TEXTS = ["what is " + "two plus " * number + "one" for number in range(1, CONVERSATIONS + 1)]


@pytest.fixture(scope="module")
def session() -> Session:
    torch.set_num_threads(1)
    sizes = [f"{name}={value}" for name, value in SIZES.items()]
    return build(make(compose("llama_omni/tiny", [*sizes, f"generate.max_new_tokens={TOKENS}"])), device="cpu")


def answered(session: Session, texts: Sequence[str], *, speak: bool) -> list[RunningAnswer]:
    """Make answers at the same time."""
    engine = BatchEngine(session)
    answers = [engine.begin(question(text=text), AnswerOptions(speak=speak)) for text in texts]
    while engine.step():
        pass
    return answers


@pytest.mark.parametrize("speak", [False, True], ids=["text", "speech"])
def test_eight_conversations_cost_half_of_one_after_another(session: Session, measures: Measures, speak: bool) -> None:
    def alone() -> int:
        return sum(answered(session, [text], speak=speak)[0].answer_tokens for text in TEXTS)

    def together() -> int:
        return sum(answer.answer_tokens for answer in answered(session, TEXTS, speak=speak))

    assert alone() == together() == CONVERSATIONS * TOKENS
    kind = "speech" if speak else "text"
    measures.compare({"alone": processor_time(alone), "together": processor_time(together)},
                     Ratio(f"8 conversations one at a time / together, {kind}", "alone", "together", least=LIMIT),
                     rounds=ROUNDS)


def test_next_turn_reads_only_what_is_new(session: Session, measures: Measures) -> None:
    wave = np.random.default_rng(0).normal(0, 0.1, 32000).astype(np.float32)
    first = question(wave, "what is it " * 20)
    answer = Message("assistant", (ContentPart("text", text="two plus one is three"),))
    second = question(text="and why", history=[*first.messages, answer])
    engine, prefix = BatchEngine(session), PrefixCache()

    def turn(cache: PrefixCache | None) -> float:
        engine.begin(first, AnswerOptions(speak=False, max_new_tokens=1), prefix)
        while engine.step():
            pass
        start = time.process_time()
        running = engine.begin(second, AnswerOptions(speak=False, max_new_tokens=1), cache)
        while engine.step():
            pass
        assert (running.cached_tokens > 0) == (cache is not None)
        return time.process_time() - start

    measures.compare({"again": lambda: turn(None), "reused": lambda: turn(prefix)},
                     Ratio("second turn, read again / reused", "again", "reused", least=LIMIT), rounds=ROUNDS)
    measures.number("an idle conversation's cache, for a position", prefix.bytes / prefix.length / 1024, "KiB")


@pytest.mark.parametrize("conversations", [1, 4, 16])
def test_first_audio_and_the_gaps_behind_it(session: Session, measures: Measures, conversations: int) -> None:
    """Processor time until each answer's first audio, and between its segments, when all are asked at once."""
    engine, start = BatchEngine(session), time.process_time()
    answers = [engine.begin(question(text=TEXTS[number % len(TEXTS)]), AnswerOptions()) for number in range(conversations)]
    times: list[list[float]] = [[] for _ in answers]
    running = True
    while running:
        running = engine.step()
        now = 1000 * (time.process_time() - start)
        for found, answer in zip(times, answers, strict=True):
            found += [now for event in answer.take() if event.waveform is not None]
    gaps = [later - earlier for found in times for earlier, later in pairwise(found)]
    first = float(np.median([each[0] for each in times]))
    measures.number(f"time to first audio, {conversations} at once, median", first, "ms")
    measures.number(f"between two segments, {conversations} at once, 95 % below", float(np.quantile(gaps, 0.95)), "ms")
