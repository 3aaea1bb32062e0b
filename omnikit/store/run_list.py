"""The runs below a folder, each in a few facts: recipe, stages, size, last losses. Reads records alone, no weights."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from omnikit.errors import RunError
from omnikit.store import run_manifest
from omnikit.store.files import read_json
from omnikit.store.locks import holder
from omnikit.store.runs import DONE, PARTIAL, RUNS, finished_hash, run_folders
from omnikit.store.stage_record import StageRecord, record

LOCK = ".lock"
CHECKPOINTS = "checkpoints"  # of a stage, see omnikit.store.training_checkpoint, which imports torch


@dataclass(frozen=True)
class RunSummary:
    """A run in a few facts.

    Args:
        recipe: its name; "" where nothing records it.
        latest: whether its recipe's `latest` points at it.
        stages: of the recipe, in order; of a run that records none, those that lie there.
        done: which of them are finished.
        partial: stages that were begun and are not complete.
        training: who trains it now.
        changed: local time at which the newest stage was finished, or, where none is, of the folder.
        size: bytes of all its files.
        numbers: last losses of the newest finished stage, or what its fit reported.
        seconds: that the training of the finished stages took.
        resumes_at: step of the newest checkpoint of the first stage in `partial`; None where there is none.
        problem: why a stage counts as unfinished though it lies there.
    """

    folder: Path
    recipe: str
    latest: bool
    stages: tuple[str, ...]
    done: tuple[str, ...]
    partial: tuple[str, ...]
    training: str | None
    changed: str
    size: int
    numbers: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    resumes_at: int | None = None
    problem: str = ""

    @property
    def is_complete(self) -> bool:
        """Whether every stage of its recipe is finished."""
        return bool(self.stages) and self.done == self.stages


def list_runs(folder: Path) -> list[RunSummary]:
    """Give the runs in a folder and below it, the newest first.

    Raises:
        RunError: there is no such folder.
    """
    if not folder.is_dir():
        raise RunError(f"{folder} is not a folder, but runs lie in one; train first with omnikit train RECIPE, or name another"
                       " folder.")
    return sorted((summary(found) for found in run_folders(folder)), key=lambda run: run.changed, reverse=True)


def summary(folder: Path) -> RunSummary:
    """Give a run in a few facts; what is damaged counts as unfinished."""
    recipe, order, problem = _recorded(folder)
    stages = order or tuple(sorted(path.parent.name for path in folder.glob(f"[!.]*/{DONE}")))
    records: dict[str, StageRecord] = {}
    for name in stages:
        try:
            if finished_hash(folder, name) is not None:
                records[name] = record(folder, name)
        except RunError as error:
            problem = problem or str(error)
    newest = max(records.values(), key=lambda one: one.finished, default=None)
    changed = newest.finished if newest else datetime.fromtimestamp(folder.stat().st_mtime).astimezone().isoformat(" ")
    latest = folder.parent / "latest"
    partial = tuple(sorted(path.name[1:].removesuffix(".partial") for path in folder.glob(PARTIAL)))
    return RunSummary(folder, recipe, latest.is_symlink() and latest.resolve() == folder.resolve(), stages, tuple(records),
                      partial, holder(folder / LOCK), changed, size(folder), newest.numbers if newest else {},
                      sum(one.seconds for one in records.values()), _newest_step(folder, partial), problem)


def _newest_step(folder: Path, partial: tuple[str, ...]) -> int | None:
    found = (folder / f".{partial[0]}.partial" / CHECKPOINTS).glob("[0-9]*") if partial else ()
    return max((int(path.name) for path in found if path.name.isdecimal()), default=None)


def size(path: Path) -> int:
    """Give the bytes of a file, or of all files of a folder; links count nothing."""
    if path.is_symlink():
        return 0
    if path.is_file():
        return path.stat().st_size
    total = 0
    for above, _, names in os.walk(path):
        for name in names:
            try:
                total += Path(above, name).lstat().st_size
            except FileNotFoundError:  # a training that goes on removes files of its own
                continue
    return total


def _recorded(folder: Path) -> tuple[str, tuple[str, ...], str]:
    """Give recipe and stages as a run's manifest has them, and what is wrong with it; a run's first stage has none yet."""
    if (folder / run_manifest.NAME).is_file():
        try:
            found = run_manifest.read(folder)
        except RunError as error:
            return "", (), str(error)
        return found.recipe, found.order, ""
    return _first_recipe(folder), (), ""


def _first_recipe(folder: Path) -> str:
    """Give the recipe's name from the first stage that records it, or from where the run lies."""
    for path in sorted(folder.glob(f"*/{run_manifest.NAME}")):
        try:
            return str(read_json(path, "train again").get("recipe", ""))
        except RunError:
            continue
    above = folder.resolve().parent.parts
    return "/".join(above[above.index(RUNS.name) + 1:]) if RUNS.name in above else ""
