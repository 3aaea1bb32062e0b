"""A training step of omnikit against transformers' Trainer and a loop by hand: the same LLaVA, batches and losses.

Time is processor time of sixty steps after three, on one thread, in rounds that alternate. Memory is that of a process for each
way, above what its imports take.
"""

from pathlib import Path

import pytest
from bench_table import Measures, Ratio
from llava_steps import WARM, Comparison, Steps, peaks

STEPS, ROUNDS, LIMIT, SHORT = 60 + WARM, 3, 1.03, 10


def test_step_costs_what_a_loop_by_hand_costs(measures: Measures, tmp_path: Path) -> None:
    comparison, last = Comparison(tmp_path, STEPS, batch_size=2), dict[str, Steps]()

    def cost(way: str) -> float:
        last[way] = getattr(comparison, way)()
        return last[way].cost

    costs = measures.compare({"omnikit": lambda: cost("omnikit"), "hand": lambda: cost("hand"),
                              "transformers": lambda: cost("transformers")},
                             Ratio("training step / a loop by hand", "omnikit", "hand", most=LIMIT),
                             Ratio("training step / transformers' Trainer", "omnikit", "transformers", most=1.0),
                             rounds=ROUNDS)
    measures.number("a training step", 1000 * min(costs["omnikit"]) / (STEPS - WARM), "ms")
    losses = [steps.loss for steps in last.values()]
    assert losses == [pytest.approx(losses[0], rel=1e-5)] * len(losses)


def test_steps_take_no_more_memory(measures: Measures) -> None:
    found = {way: peaks(way, SHORT, batch_size=8) for way in ("omnikit", "hand", "transformers")}
    for way in ("hand", "transformers"):
        measures.ratio(f"peak memory of training above the imports / {way}", found["omnikit"][1], found[way][1], most=1.0)
    measures.number("peak memory of training above the imports", found["omnikit"][1], "MB")
