"""Optuna chooses the overrides of each job by the numbers of those before: `omnikit train RECIPE --optuna FILE`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from omnikit.errors import ConfigError, OmnikitError
from omnikit.recipe.presets import read_mapping
from omnikit.recipe.schema import construct
from omnikit.training.sweeps.launchers import Launcher, require
from omnikit.training.sweeps.sweep import JobResult, SweepJob, TrainOptions, job

if TYPE_CHECKING:
    import optuna

TITLE = "omnikit"


@dataclass(frozen=True)
class Search:
    """What is searched for.

    Args:
        metric: the number that decides: STAGE.NAME of the last numbers, as in speak.speech.
        space: override → [choice, …] or {low, high, log, step}.
        trials: jobs in all, those of an earlier call in the same storage included.
        direction: whether a smaller or a larger number is better.
        sampler: tpe learns from the jobs before; random does not.
        seed: of the sampler.
        parallel: jobs that are chosen together and run side by side, where the launcher can.
        storage: file that remembers the jobs, so that the same command goes on; None forgets them.
    """

    metric: str
    space: dict[str, Any]
    trials: int = 20
    direction: Literal["minimize", "maximize"] = "minimize"
    sampler: Literal["tpe", "random"] = "tpe"
    seed: int = 0
    parallel: int = 1
    storage: str | None = None


@dataclass
class SearchJobs:
    """Owns a study: which jobs are tried next, and which was the best."""

    recipe: str
    overrides: Sequence[str]
    search: Search
    options: TrainOptions = field(default_factory=TrainOptions)
    logs: Path | None = None
    study: optuna.Study = field(init=False)

    def __post_init__(self) -> None:
        require("optuna", "--optuna", "optuna")
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        samplers = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}
        storage = None
        if self.search.storage:
            Path(self.search.storage).parent.mkdir(parents=True, exist_ok=True)
            storage = f"sqlite:///{self.search.storage}"
        self.study = optuna.create_study(
            study_name=TITLE, direction=self.search.direction, storage=storage, load_if_exists=True,
            sampler=samplers[self.search.sampler](seed=self.search.seed))

    def run(self, launch: Launcher) -> Iterator[JobResult]:
        """Run jobs until there are as many as wanted."""
        space = {key: _distribution(key, value) for key, value in self.search.space.items()}
        while left := self.search.trials - len(self.study.trials):
            if left < 0:
                return
            trials = [self.study.ask(space) for _ in range(min(self.search.parallel, left))]
            yield from self._tried(trials, launch)

    def best(self) -> tuple[float, list[str]] | None:
        """Give the best number and the overrides that gave it; None where no job gave one."""
        import optuna

        if not self.study.get_trials(states=(optuna.trial.TrialState.COMPLETE,)):
            return None
        return float(self.study.best_value), _words(self.study.best_params)

    def _tried(self, trials: Sequence[optuna.Trial], launch: Launcher) -> Iterator[JobResult]:
        """Run a few jobs and report their numbers to the study; equal ones run once."""
        jobs: dict[Path, SweepJob] = {}
        waiting: dict[Path, list[optuna.Trial]] = {}
        for trial in trials:
            words = _words(trial.params)
            try:
                one = job(self.recipe, trial.number + 1, [*self.overrides, *words], words, self.options, self.logs)
            except OmnikitError as error:
                one = SweepJob(trial.number + 1, self.recipe, tuple(words), tuple(words), Path("-"))
                yield self._failed(trial, one, str(error))
                continue
            jobs.setdefault(one.folder, one)
            waiting.setdefault(one.folder, []).append(trial)
        for result in launch(list(jobs.values())):
            for trial in waiting.pop(result.job.folder):
                self._report(trial, result)
            missing = "" if result.error or self.search.metric in result.numbers else (
                f"it has no number {self.search.metric}; it has {', '.join(result.numbers) or 'none'}.")
            yield JobResult(result.job, result.seconds, result.numbers, result.error or missing)

    def _failed(self, trial: optuna.Trial, one: SweepJob, error: str) -> JobResult:
        result = JobResult(one, 0.0, {}, error)
        self._report(trial, result)
        return result

    def _report(self, trial: optuna.Trial, result: JobResult) -> None:
        import optuna

        value = result.numbers.get(self.search.metric)
        if result.error or value is None:
            self.study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            self.study.tell(trial, value)


def read_search(path: Path) -> Search:
    """Read the file of --optuna.

    Raises:
        ConfigError: it cannot be read, or a key or value is wrong; all of them at once.
    """
    errors: list[str] = []
    found = construct(Search, read_mapping(path), str(path), errors)
    for key, value in (found.space if found else {}).items():
        if not isinstance(value, list) and not (isinstance(value, dict) and {"low", "high"} <= value.keys()):
            errors.append(f"{path}: space.{key} is {value!r}, but must be a list of choices or {{low: …, high: …}}.")
    if errors or found is None:
        raise ConfigError(*errors)
    return found


def _distribution(key: str, value: Any) -> Any:
    from optuna import distributions

    if isinstance(value, list):
        return distributions.CategoricalDistribution(value)
    whole = all(isinstance(value[end], int) for end in ("low", "high"))
    kind = distributions.IntDistribution if whole else distributions.FloatDistribution
    try:
        return kind(**value)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"space.{key} is {value}, which Optuna refuses: {error}; give low and high, and log or"
                          " step.") from error


def _words(params: dict[str, Any]) -> list[str]:
    """Write parameters as overrides."""
    return [f"{key}={'null' if value is None else value}" for key, value in params.items()]
