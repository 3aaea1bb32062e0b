"""A run's stages trained again from the run's own record, into another folder, and compared: losses and weights."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from omnikit.errors import RunError, nearest
from omnikit.plan.plan import Plan
from omnikit.store import imports, manifest, run_manifest
from omnikit.store.content import FileHashes
from omnikit.store.facts import Difference, differences, stage_facts
from omnikit.store.runs import finished_hash, load_plan
from omnikit.store.stage_record import StageRecord, record
from omnikit.training.monitoring.metrics import VOLATILE
from omnikit.training.stage import run_stages

METRICS = "metrics.csv"


@dataclass(frozen=True)
class Circumstances:
    """What is otherwise now than when a stage was trained.

    Args:
        inputs: settings, data, files and weights that it started from; with other ones it is another training.
        machine: versions and hardware, which may change the last digits.
    """

    inputs: tuple[Difference, ...]
    machine: tuple[Difference, ...]


@dataclass(frozen=True)
class StageReplay:
    """What came of one stage.

    Args:
        rows: of metrics.csv that were compared.
        loss: the first number that differs, "loss.text at step 40: 2.31, was 2.3"; "" where none does.
        weights: parts whose weights differ.
    """

    stage: str
    rows: int
    loss: str = ""
    weights: tuple[str, ...] = field(default=())

    @property
    def is_equal(self) -> bool:
        """Whether losses and weights are those of the run, to the bit."""
        return not self.loss and not self.weights


def stages_to_replay(folder: Path, stage: str | None = None) -> tuple[Plan, list[str]]:
    """Give a run's plan and the stages that are trained again: one, or all that are finished.

    Raises:
        OmnikitError: the run's record is damaged, or the stage is none of its finished ones.
    """
    plan = load_plan(folder)
    done = [name for name in plan.stages if finished_hash(folder, name) is not None]
    if stage is not None and stage not in done:
        raise RunError(f"--stage is {stage!r}, which is not a finished stage of {folder}.{nearest(stage, done)} Finished:"
                       f" {', '.join(done) or 'none'}.")
    if not done:
        raise RunError(f"{folder} has no finished stage, so there is nothing to replay; finish it with omnikit train {folder}.")
    return plan, [stage] if stage else done


def circumstances(plan: Plan, folder: Path, name: str) -> Circumstances:
    """Give what is otherwise now than when a finished stage was trained; reads its data once.

    Raises:
        RunError: its record is damaged.
    """
    before, stage = record(folder, name), plan.stages[name]
    paths = imports.source_of(stage).files() if stage.stage.objective == "import" else manifest.part_files(plan, stage)
    inputs = differences(before.facts, stage_facts(plan, name)) + manifest.input_changes(
        folder, stage, FileHashes().of(paths), lambda dataset: manifest.fingerprint_now(plan.readers[dataset]))
    return Circumstances(tuple(inputs), tuple(_machine(before)))


def replay(plan: Plan, folder: Path, names: Sequence[str], out: Path) -> Iterator[StageReplay]:
    """Train stages of a run again, one after another, with as many threads as it had; a stage alone starts from the run's own.

    Args:
        names: all finished stages, or one.
        out: the folder that they are trained in; the run itself is not touched.

    Raises:
        OmnikitError: as training.
    """
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()):
        raise RunError(f"{out} holds something already, but a replay needs a folder of its own; name another with --out.")
    order = list(plan.stages)
    for earlier in order[:order.index(names[0])]:
        (out / earlier).symlink_to((folder / earlier).resolve())
    for name in names:
        before = record(folder, name)
        with _threads(before):
            run_stages(_up_to(plan, name), out, run_manifest.read(folder).config)
        yield _compared(folder, out, name)


def _machine(before: StageRecord) -> Iterator[Difference]:
    threads = before.hardware.get("threads", 0)  # a replay takes as many
    now: dict[str, Mapping[str, object]] = {
        "versions": manifest.versions(), "hardware": {**manifest.hardware(), "threads": threads}}
    for what, facts in now.items():
        recorded = getattr(before, what)
        yield from differences({f"{what}.{key}": value for key, value in recorded.items()},
                               {f"{what}.{key}": value for key, value in facts.items()} if recorded else {})


@contextmanager
def _threads(before: StageRecord) -> Iterator[None]:
    """Compute with as many threads as a stage was trained with: sums are taken in another order with others."""
    own = torch.get_num_threads()
    torch.set_num_threads(int(before.hardware.get("threads", own)))
    try:
        yield
    finally:
        torch.set_num_threads(own)


def _up_to(plan: Plan, name: str) -> Plan:
    """Give a plan without the stages behind one; the place of the others in the order, which decides seeds, stays."""
    order = list(plan.stages)
    names = order[:order.index(name) + 1]
    recipe = replace(plan.recipe, stages={one: plan.recipe.stages[one] for one in names})
    return replace(plan, recipe=recipe, stages={one: plan.stages[one] for one in names})


def _compared(folder: Path, out: Path, name: str) -> StageReplay:
    before, now = record(folder, name), record(out, name)
    parts = [part for part, digest in before.weights_after.items() if now.weights_after.get(part) != digest]
    rows, again = (_rows(run / name / METRICS) for run in (folder, out))
    return StageReplay(name, len(rows), _first_difference(rows, again), tuple(parts))


def _rows(path: Path) -> dict[str, Mapping[str, str]]:
    """Give step → the numbers that a replay gives again; a stage without steps has none."""
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {row["step"]: {key: value for key, value in row.items() if key not in VOLATILE} for row in csv.DictReader(file)}


def _first_difference(before: Mapping[str, Mapping[str, str]], now: Mapping[str, Mapping[str, str]]) -> str:
    for step, row in before.items():
        if step not in now:
            return f"no row of step {step}"
        for key in (key for key in row if key in now[step]):
            if row[key] != now[step][key]:
                return f"{key} at step {step}: {now[step][key]}, was {row[key]}"
    return ""
