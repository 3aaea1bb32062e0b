"""Eight conversations at a time against one after another: the same questions, model and number of tokens, in processor time.

Rounds alternate, and the fastest of each counts. Also what an idle conversation keeps, and what its next turn saves by it.
"""

import time
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from omnikit.contracts.types import ContentPart, Message
from omnikit.inference.engine import AnswerOptions
from omnikit.inference.prefix_cache import PrefixCache
from omnikit.inference.question import question
from omnikit.inference.scheduler.batch import BatchEngine
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


def seconds(engine: BatchEngine, texts: Sequence[str], *, speak: bool) -> tuple[float, int]:
    """Give the processor time of answers at the same time, and their tokens."""
    start = time.process_time()
    answers = [engine.begin(question(text=text), AnswerOptions(speak=speak)) for text in texts]
    while engine.step():
        pass
    return time.process_time() - start, sum(answer.answer_tokens for answer in answers)


@pytest.mark.parametrize("speak", [False, True], ids=["text", "speech"])
def test_eight_conversations_cost_half_of_one_after_another(session: Session, benchmark: BenchmarkFixture, speak: bool) -> None:
    times: dict[str, list[float]] = {"alone": [], "together": []}

    def rounds() -> None:
        for _ in range(ROUNDS):
            alone = [seconds(BatchEngine(session), [text], speak=speak) for text in TEXTS]
            together = seconds(BatchEngine(session), TEXTS, speak=speak)
            assert sum(tokens for _, tokens in alone) == together[1]
            times["alone"].append(sum(each for each, _ in alone))
            times["together"].append(together[0])

    benchmark.pedantic(rounds, rounds=1)
    ratio = min(times["alone"]) / min(times["together"])
    spread = max(times["together"]) / min(times["together"])
    benchmark.extra_info.update({"ratio": round(ratio, 3), "spread": round(spread, 3)})
    print(f"\n{CONVERSATIONS} conversations, one at a time / together, {'speech' if speak else 'text'}: {ratio:.2f}"
          f" (spread {spread:.2f})")
    assert ratio >= LIMIT


def test_next_turn_reads_only_what_is_new(session: Session, benchmark: BenchmarkFixture) -> None:
    wave = np.random.default_rng(0).normal(0, 0.1, 32000).astype(np.float32)
    first = question(wave, "what is it " * 20)
    answer = Message("assistant", (ContentPart("text", text="two plus one is three"),))
    second = question(text="and why", history=[*first.messages, answer])
    engine, prefix = BatchEngine(session), PrefixCache()
    times: dict[str, list[float]] = {"read again": [], "reused": []}

    def turn(cache: PrefixCache | None) -> float:
        start = time.process_time()
        running = engine.begin(second, AnswerOptions(speak=False, max_new_tokens=1), cache)
        while engine.step():
            pass
        assert (running.cached_tokens > 0) == (cache is not None)
        return time.process_time() - start

    def rounds() -> None:
        for _ in range(ROUNDS):
            engine.begin(first, AnswerOptions(speak=False), prefix)
            while engine.step():
                pass
            times["read again"].append(turn(None))
            times["reused"].append(turn(prefix))

    benchmark.pedantic(rounds, rounds=1)
    ratio = min(times["read again"]) / min(times["reused"])
    benchmark.extra_info.update({"ratio": round(ratio, 3), "idle_bytes": prefix.bytes, "positions": prefix.length})
    print(f"\nsecond turn, read again / reused: {ratio:.2f}; an idle conversation of {prefix.length} positions keeps"
          f" {prefix.bytes / 1024:.0f} KiB")
    assert ratio >= LIMIT
