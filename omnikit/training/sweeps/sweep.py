"""Several trainings of one recipe: each a job with overrides of its own, checked before the first starts. Starts no process."""

from __future__ import annotations

import csv
import sys
import time
import traceback
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from rich.console import Console

from omnikit.errors import ConfigError, OmnikitError, RunError
from omnikit.plan.plan import make
from omnikit.plan.weights import require_weights
from omnikit.recipe.compose import compose
from omnikit.recipe.recipe import TrainerConfig
from omnikit.store.files import disk_errors
from omnikit.store.runs import RUNS, run_folder
from omnikit.store.stage_record import record
from omnikit.training.launch import launch, numbers_of_process

SWEEPS = RUNS / "sweeps"
RESULTS = "results.csv"


@dataclass(frozen=True)
class TrainOptions:
    """Flags of `omnikit train` that each job is given."""

    retrain: tuple[str, ...] = ()
    restart: bool = False
    wait: bool = False
    jobs: int = 1


@dataclass(frozen=True)
class SweepJob:
    """One training.

    Args:
        number: from 1.
        overrides: all that it is given.
        named: those that distinguish it from the others.
        folder: of its run.
        log: where it prints to; None for this terminal.
        devices: of each machine, and `nodes` machines, that its stages need; one process for each.
    """

    number: int
    recipe: str
    overrides: tuple[str, ...]
    named: tuple[str, ...]
    folder: Path
    options: TrainOptions = TrainOptions()
    log: Path | None = None
    devices: int = 1
    nodes: int = 1

    @property
    def processes(self) -> int:
        """How many train it together, where several do."""
        return self.devices * self.nodes

    @property
    def title(self) -> str:
        """Give it in words, for sentences."""
        return f"job {self.number} ({' '.join(self.named) or 'no override'}; run {self.folder})"


@dataclass(frozen=True)
class JobResult:
    """What became of a job.

    Args:
        numbers: stage.name → last number of each finished stage.
        error: why it failed; "" where it did not.
    """

    job: SweepJob
    seconds: float
    numbers: dict[str, float] = field(default_factory=dict)
    error: str = ""


def prepare(recipe: str, found: Sequence[Sequence[str]], keys: Sequence[str], options: TrainOptions = TrainOptions(),
            logs: Path | None = None) -> list[SweepJob]:
    """Give the jobs of a sweep; every one is composed and checked, so that none starts while another cannot.

    Args:
        found: overrides of each.
        keys: that are swept over.
        logs: folder for what they print; None for this terminal.

    Raises:
        ConfigError: a job's recipe is wrong, or two jobs would train in one folder; each named by its overrides.
    """
    jobs, errors = [], []
    for number, overrides in enumerate(found, 1):
        named = tuple(word for word in overrides if word.partition("=")[0] in keys)
        try:
            jobs.append(job(recipe, number, overrides, named, options, logs))
        except OmnikitError as error:
            errors += [f"job {number} ({' '.join(named)}): {sentence}" for sentence in str(error).splitlines()]
    folders: dict[Path, SweepJob] = {}
    for one in jobs:
        other = folders.setdefault(one.folder.resolve(), one)
        if other is not one:
            errors.append(f"jobs {other.number} ({' '.join(other.named)}) and {one.number} ({' '.join(one.named)}) would both"
                          f" train in {one.folder}; give each a folder of its own, as with run='runs/mine_${{seed}}', or sweep"
                          " over what changes weights.")
    if errors:
        raise ConfigError(*errors)
    return jobs


def job(recipe: str, number: int, overrides: Sequence[str], named: Sequence[str], options: TrainOptions,
        logs: Path | None) -> SweepJob:
    """Give one job, composed and checked; raises OmnikitError."""
    plan = make(compose(recipe, overrides))
    require_weights(plan)
    trainers = [stage.stage.trainer for stage in plan.stages.values()]
    most = max(trainers, key=lambda trainer: trainer.processes, default=TrainerConfig())
    if most.processes > 1 and options.jobs != 1:
        raise RunError(f"jobs is {options.jobs}, but a stage is trained by {most.processes} processes; leave out --jobs.")
    return SweepJob(number, recipe, tuple(overrides), tuple(named), run_folder(plan.recipe), options,
                    logs / f"{number}.log" if logs else None, most.devices, most.nodes)


def run_job(one: SweepJob) -> JobResult:
    """Train a job in this process, or in several that it starts; what it fails with is part of the result."""
    start, error, place = time.monotonic(), "", numbers_of_process()
    if one.processes > 1 and place is None:
        return _run_processes(one)
    with ExitStack() as stack:
        if one.log and (place is None or place[0] == 0):
            one.log.parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(one.log.open("a", encoding="utf-8"))
            stack.enter_context(redirect_stdout(file))
            stack.enter_context(redirect_stderr(file))
        else:
            Console().print(one.title, soft_wrap=True, highlight=False, markup=False)
        try:
            _train(one)
        except OmnikitError as failure:
            error = str(failure)
        except Exception as failure:  # a bug; the other jobs go on, and its trace is printed
            traceback.print_exc()
            error = f"{type(failure).__name__}: {failure}; its trace is in {one.log or 'the output above'}."
    return JobResult(one, time.monotonic() - start, last_numbers(one.folder), error)


def _run_processes(one: SweepJob) -> JobResult:
    """Train a job in a process for each of its devices."""
    start = time.monotonic()
    flags = [*(f"--retrain={name}" for name in one.options.retrain), *(["--restart"] if one.options.restart else []),
             *(["--wait"] if one.options.wait else [])]
    with ExitStack() as stack:
        file = None
        if one.log:
            one.log.parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(one.log.open("a", encoding="utf-8"))
        code = launch(["train", one.recipe, *one.overrides, *flags], one.processes, file)
    error = f"its processes ended with code {code}; see {one.log or 'the output above'}." if code else ""
    return JobResult(one, time.monotonic() - start, last_numbers(one.folder), error)


def last_numbers(folder: Path) -> dict[str, float]:
    """Give stage.name → last number of a run's finished stages."""
    found: dict[str, float] = {}
    for path in sorted(folder.glob("[!.]*/done")):
        try:
            found |= {f"{path.parent.name}.{name}": value for name, value in record(folder, path.parent.name).numbers.items()}
        except RunError:
            continue
    return found


def sweep_folder(recipe: str) -> Path:
    """Give a folder for what a sweep leaves beside its runs."""
    name = Path(recipe).stem if recipe.endswith((".yaml", ".yml")) else recipe.replace("/", "_")
    return SWEEPS / f"{name}_{datetime.now():%Y-%m-%d_%H-%M-%S}"


def write_results(path: Path, results: Iterable[JobResult]) -> None:
    """Write a line for each job: its overrides, run, seconds, error and last numbers."""
    results = list(results)
    names = list(dict.fromkeys(name for one in results for name in one.numbers))
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            lines = csv.writer(file)
            lines.writerow(["job", "overrides", "run", "seconds", "error", *names])
            for one in results:
                numbers = [one.numbers.get(name, "") for name in names]
                lines.writerow([one.job.number, " ".join(one.job.overrides), one.job.folder, f"{one.seconds:.1f}", one.error,
                                *numbers])


def failures(results: Iterable[JobResult]) -> list[str]:
    """Give a sentence for each job that failed, which names it."""
    return [f"{one.job.title} failed: {one.error}" for one in results if one.error]


def _train(one: SweepJob) -> None:
    from omnikit.recipe.dump import dump
    from omnikit.training.stage import train

    before, plan = sys.argv, make(compose(one.recipe, one.overrides))
    sys.argv = ["omnikit", "train", one.recipe, *one.overrides]  # a stage records its command
    try:
        options = one.options
        train(plan, dump(plan.recipe), retrain=options.retrain, restart=options.restart, wait=options.wait, jobs=options.jobs)
    finally:
        sys.argv = before
