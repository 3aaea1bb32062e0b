"""Three steps of one stage, in a process of its own: how much memory it takes and how long a step lasts.

The stage runs as `omnikit train` runs it, in a folder that holds the stages before it.
"""

from __future__ import annotations

import csv
import json
import resource
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import median

import torch

from omnikit.plan.plan import Plan, make
from omnikit.recipe.compose import compose
from omnikit.training.stage import run_stages

STEPS = 3
INTERVAL = 0.005  # seconds between two looks at the process
STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Measured:
    """What a stage took: bytes of the process, bytes of tensors on a card (0 without one), seconds of a step (0: none ran).

    Memory maps of data are left out of the process: the kernel takes them back where memory is short.
    """

    process: int
    card: int
    seconds: float


def dry_overrides(plan: Plan) -> list[str]:
    """Give the overrides that cut the stages of a plan to a few steps."""
    steps = [name for name, stage in plan.stages.items() if stage.stage.objective in ("heads", "vocoder", "codec")]
    return [f"stages.{name}.trainer.{setting}" for name in steps
            for setting in (f"max_steps={STEPS}", "max_epochs=null", "log_every=1", "accumulate=1")]


def measure_stage(recipe: str, overrides: Sequence[str], stage: str, folder: Path) -> Measured:
    """Train a stage of a recipe for three steps in a folder, where the stages before it are finished."""
    plan = make(compose(recipe, overrides))
    names = list(plan.stages)[:list(plan.stages).index(stage) + 1]
    stages = {name: plan.recipe.stages[name] for name in names}
    cut = replace(plan, stages={name: plan.stages[name] for name in names}, recipe=replace(plan.recipe, stages=stages))
    with peak_memory() as peak:
        run_stages(cut, folder, "")
    card = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    return Measured(peak[0], card, _seconds(folder / stage / "metrics.csv"))


@contextmanager
def peak_memory() -> Iterator[list[int]]:
    """Give a list whose only number becomes the peak of the process inside, in bytes."""
    found, done = [0], threading.Event()
    if not STATUS.exists():  # not Linux: the peak since the process began
        yield found
        found[0] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return
    files = _resident("RssFile:")

    def watch() -> None:
        while not done.wait(INTERVAL):
            found[0] = max(found[0], files + _resident("RssAnon:", "RssShmem:"))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()


def main() -> None:
    """Print what one stage takes as a line of JSON; arguments: recipe, stage, folder, overrides."""
    recipe, stage, folder, *overrides = sys.argv[1:]
    found = measure_stage(recipe, overrides, stage, Path(folder))
    sys.stdout.write(f"\n{json.dumps(asdict(found))}\n")


def _resident(*keys: str) -> int:
    """Give the bytes of kinds of memory of this process."""
    lines = (line.split() for line in STATUS.read_text().splitlines())
    return sum(1024 * int(words[1]) for words in lines if words and words[0] in keys)


def _seconds(metrics: Path) -> float:
    """Give the time of a step behind the first, which is slower."""
    if not metrics.exists():
        return 0.0
    with metrics.open(newline="") as file:
        times = [float(row["seconds"]) for row in csv.DictReader(file)]
    return median([later - earlier for earlier, later in pairwise(times)] or [0.0])
