"""How long a recipe still takes here: times of earlier trainings, by what the stages of this one measured so far.

An earlier training is a run of the recipe beside this one, or the reference times that are shipped with a recipe. The quotient
of what a stage takes here to what it took there is applied to the stages to come.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from pathlib import Path

from rich.console import Console

from omnikit.errors import RunError
from omnikit.paths import recipe_files
from omnikit.plan.plan import Plan
from omnikit.progress import duration
from omnikit.store.stage_record import record


@dataclass(frozen=True, order=True)
class StageTime:
    """What a stage took: steps, 0 for a fit in one go, and seconds."""

    steps: int
    seconds: float


class RecipeEstimate:
    """Owns what is known of the time of each stage that is trained now.

    Args:
        steps: stage → optimizer steps to do, in order; None where that shows when its data is read.
        reference: stage → what it took in an earlier training.
        jobs: stages that are trained side by side at most; then the stages themselves give no total.
        origins: stage → those that it starts from.
    """

    def __init__(self, steps: Mapping[str, int | None], reference: Mapping[str, StageTime], jobs: int = 1,
                 origins: Mapping[str, Collection[str]] | None = None) -> None:
        self.steps, self.reference, self.jobs, self.origins = dict(steps), dict(reference), jobs, origins or {}
        self._measured: dict[str, float] = {}  # finished stage → seconds

    def title(self, stage: str) -> str:
        """Give a stage with its place: "understand (stage 2 of 3)"."""
        names = list(self.steps)
        return f"{stage} (stage {names.index(stage) + 1} of {len(names)})" if stage in names else stage

    def announce(self, recipe: str) -> None:
        """Print how many stages are trained, and how long that takes."""
        if len(self.steps) > 1:
            sentence = self._total({}) if self.jobs > 1 else self.sentence()
            _print(f"{recipe}: {len(self.steps)} stages to train{'; ' if sentence else ''}{sentence}")

    def report(self, stage: str, running: Mapping[str, float]) -> None:
        """Print that a stage is finished, of those that are trained side by side, and what is left.

        Args:
            running: stage → seconds since it began.
        """
        sentence = self._total(running)
        _print(f"{self.title(stage)}: finished in {duration(self._measured[stage])}{'; ' if sentence else ''}{sentence}")

    def finish(self, stage: str, seconds: float) -> None:
        """Take note of what a stage took."""
        self._measured[stage] = seconds

    def left(self, stage: str | None = None, elapsed: float = 0.0, fraction: float = 0.0) -> tuple[float, list[str]]:
        """Give the seconds left in all, and the stages to come that nothing is known of.

        Args:
            stage: that is trained now, since `elapsed` seconds, of which `fraction` is done.
        """
        now = elapsed / fraction - elapsed if stage and fraction else 0.0
        names = list(self.steps)
        later = names[names.index(stage) + 1:] if stage in names else names
        if stage and not fraction:
            later = [stage, *later]
        speed = self._speed(stage, elapsed, fraction)
        times = {name: self._expected(name) for name in later if name not in self._measured}
        return now + sum(speed * time for time in times.values() if time is not None), [
            name for name, time in times.items() if time is None]

    def sentence(self, stage: str | None = None, elapsed: float = 0.0, fraction: float = 0.0) -> str:
        """Give the estimate in words; "" where nothing is known, or no other stage follows."""
        if self.jobs > 1 or (stage is not None and [*self.steps][-1:] == [stage]):
            return ""
        return _left(*self.left(stage, elapsed, fraction))

    def _total(self, running: Mapping[str, float]) -> str:
        """Give what is left in words, stages side by side."""
        speed, later = self._speed(None, 0.0, 0.0), [name for name in self.steps if name not in self._measured]
        times = {name: speed * time for name in later if (time := self._expected(name)) is not None}
        left = {name: max(0.0, time - running.get(name, 0.0)) for name, time in times.items()}
        return _left(makespan(left, self.origins, self.jobs), [name for name in later if name not in times])

    def _expected(self, name: str) -> float | None:
        """Give what a stage would take where the reference was trained."""
        found, steps = self.reference.get(name), self.steps.get(name)
        if found is None:
            return None
        return found.seconds * steps / found.steps if found.steps and steps else found.seconds

    def _speed(self, stage: str | None, elapsed: float, fraction: float) -> float:
        """Give how many times longer it takes here than there, by all that was measured."""
        here = dict(self._measured) | ({stage: elapsed / fraction} if stage and fraction else {})
        both = {name: expected for name in here if (expected := self._expected(name))}
        return sum(here[name] for name in both) / sum(both.values()) if both else 1.0


def makespan(times: Mapping[str, float], origins: Mapping[str, Collection[str]], jobs: int) -> float:
    """Give the seconds that stages take in all, `jobs` side by side, each after those it starts from."""
    now, waiting, running = 0.0, list(times), list[tuple[float, str]]()
    while waiting or running:
        unfinished = {*waiting, *(name for _, name in running)}
        for name in [name for name in waiting if not unfinished & set(origins.get(name, ()))][:jobs - len(running)]:
            heappush(running, (now + times[name], name))
            waiting.remove(name)
        now, _ = heappop(running)
    return now


def estimate(plan: Plan, folder: Path, to_train: Sequence[str], jobs: int = 1) -> RecipeEstimate:
    """Give the estimate for the stages that a run lacks."""
    steps = {name: plan.stages[name].stage.trainer.max_steps if plan.stages[name].stage.trainer.max_epochs is None else None
             for name in to_train}
    origins = {name: set(plan.stages[name].origins.values()) for name in to_train}
    return RecipeEstimate(steps, {**_shipped(plan.recipe.name), **_recorded(plan, folder)}, jobs, origins)


def _left(seconds: float, unknown: Sequence[str]) -> str:
    missing = f", without {', '.join(unknown)}" if unknown else ""
    return f"about {duration(seconds)} left in all{missing}" if seconds else ""


def _print(sentence: str) -> None:
    Console().print(sentence, soft_wrap=True, highlight=False, markup=False)


def _recorded(plan: Plan, folder: Path) -> dict[str, StageTime]:
    """Give what the stages took in the runs beside this one, each in the newest; in this one, before it is replaced."""
    newest: dict[str, tuple[str, StageTime]] = {}
    for run in {folder, *(path for path in folder.parent.glob("[!.]*") if path.is_dir() and not path.is_symlink())}:
        for name in plan.stages:
            if (run / name / "done").is_file() and (found := _time(run, name)) and found > newest.get(name, ("",)):
                newest[name] = found
    return {name: found for name, (_, found) in newest.items()}


def _time(run: Path, name: str) -> tuple[str, StageTime] | None:
    try:
        found = record(run, name)
    except RunError:
        return None
    return (found.finished, StageTime(found.steps, found.seconds)) if found.finished else None


def _shipped(recipe: str) -> dict[str, StageTime]:
    """Give the reference times beside a shipped recipe, RECIPE.times.json: {stage: [steps, seconds]}."""
    file = recipe_files().get(recipe)
    path = file.with_suffix(".times.json") if file else None
    if path is None or not path.is_file():
        return {}
    return {name: StageTime(*found) for name, found in json.loads(path.read_text(encoding="utf-8"))["stages"].items()}
