"""What checkpoints cost a stage of llama_omni/tiny: what is noted at the end of each step, and what is written now and then.

Both in one run: the time of each step's note against the time of the step, and the time of one checkpoint, flushed to the disk,
against the ten minutes between two.
"""

import os
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from bench_table import Measures

from omnikit.plan.plan import make
from omnikit.recipe.compose import compose
from omnikit.recipe.interval import parse_interval
from omnikit.recipe.recipe import TrainerConfig
from omnikit.training.checkpointing.checkpoints import Checkpoints
from omnikit.training.module import Training
from omnikit.training.stage import run_stages

STEPS, LIMIT = 40, 0.02
SMALL = ["stage=understand", "data.conversations.size=192", "data.questions_as_text.size=192",
         f"stages.understand.trainer.max_steps={STEPS}", "stages.understand.trainer.save_every=10",
         "stages.understand.trainer.accelerator=cpu", "stages.understand.trainer.workers=0"]


def timed(patch: pytest.MonkeyPatch, cls: type, name: str) -> list[float]:
    """Note the seconds of each call of a method."""
    found: list[float] = []
    method: Callable[..., object] = getattr(cls, name)

    def wrapped(*arguments: object, **options: object) -> object:
        begun = time.perf_counter()
        try:
            return method(*arguments, **options)
        finally:
            found.append(time.perf_counter() - begun)

    patch.setattr(cls, name, wrapped)
    return found


def test_checkpoints_cost_little(measures: Measures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.environ.setdefault("OMNIKIT_CACHE", str(tmp_path / "cache"))
    torch.set_num_threads(1)
    plan = make(compose("llama_omni/tiny", SMALL))
    marks, writes = timed(monkeypatch, Checkpoints, "mark"), timed(monkeypatch, Checkpoints, "write")
    ends: list[float] = []
    monkeypatch.setattr(Training, "on_train_batch_start", lambda *_: ends.append(time.perf_counter()))
    run_stages(plan, tmp_path / "run", "")
    steps = sorted(later - earlier for earlier, later in pairwise(ends))
    interval = parse_interval(TrainerConfig().save_every).seconds
    assert interval is not None
    step, mark, write = steps[len(steps) // 2], sorted(marks)[len(marks) // 2], sorted(writes)[len(writes) // 2]
    cost = 2 * mark / step + write / interval  # a step is marked before and after it is validated
    size = sum(file.stat().st_size for file in (tmp_path / "run" / "understand" / "checkpoints").rglob("*") if file.is_file())
    measures.number("checkpoints / a stage", cost, "x", most=LIMIT)
    measures.number("note of a step", 1000 * mark, "ms")
    measures.number(f"checkpoint of {size / 1e6:.1f} MB, flushed", 1000 * write, "ms")
