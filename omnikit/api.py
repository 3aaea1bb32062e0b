"""What `import omnikit` offers: one function for each step from a recipe to an answer. Importing it imports no torch."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnikit.errors import ConfigError
from omnikit.plan.forecast import Forecast, Setting
from omnikit.plan.forecast import forecast as forecasts
from omnikit.plan.plan import Plan, make
from omnikit.plan.weights import require_weights
from omnikit.recipe.recipe import Recipe

if TYPE_CHECKING:
    from omnikit.data.inspect import InspectedBatch
    from omnikit.inference.session import Device, Session
    from omnikit.training.stage_task import StageResult


def compose(recipe: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Compose a recipe and check its keys; see `check` for whether its parts fit together.

    Args:
        recipe: a name such as `llama_omni/tiny`, the path of a YAML file, or a run's folder for the recipe it was made of.
        overrides: as on the command line, `audio/encoder=mel_cnn`, `stages.speak.optim.lr=1e-4`.

    Raises:
        OmnikitError: the recipe, a component, a key or a value is unknown or wrong; all that can be found at once.
    """
    from omnikit.recipe.compose import compose as composed  # imports Hydra

    if not isinstance(recipe, str | Path):
        raise ConfigError(f"recipe is {_shown(recipe)}, but must be a recipe's name, a YAML file or a run's folder.")
    if isinstance(overrides, str) or not all(isinstance(word, str) for word in overrides):
        raise ConfigError(f"overrides is {_shown(overrides)}, but must be a list of texts, for example [\"seed=1\"].")
    return composed(str(recipe), overrides)


def check(recipe: str | Path | Recipe | Plan, overrides: Sequence[str] = ()) -> Plan:
    """Wire a recipe's parts and check that they fit together; reads no weights.

    Args:
        recipe: as for `compose`, or what it gives.
        overrides: as for `compose`.

    Raises:
        OmnikitError: as `compose`; or parts do not fit together, every mismatch in one go.
    """
    if isinstance(recipe, Recipe | Plan):
        if overrides:
            name = recipe.recipe.name if isinstance(recipe, Plan) else recipe.name
            raise ConfigError(f"overrides is {_shown(overrides)}, but {name} is composed already; give them to"
                              " omnikit.compose.")
        return recipe if isinstance(recipe, Plan) else make(recipe)
    if not isinstance(recipe, str | Path):
        raise ConfigError(f"recipe is {_shown(recipe)}, but must be a recipe's name, a YAML file, a run's folder, or what"
                          " omnikit.compose or omnikit.check gives.")
    return make(compose(recipe, overrides))


def forecast(recipe: str | Path | Recipe | Plan, overrides: Sequence[str] = (), *, devices: int = 1) -> dict[str, Forecast]:
    """Forecast the memory of each stage; builds and reads no weights.

    Args:
        recipe: as for `check`.
        overrides: as for `compose`.
        devices: that share weights, gradients and moments as FSDP does.

    Returns:
        stage → bytes on each device: `card` and `process` are the sums.
    """
    return forecasts(check(recipe, overrides), Setting(devices))


def inspect(recipe: str | Path | Recipe | Plan, overrides: Sequence[str] = (), *, stage: str | None = None,
            rows: int = 4) -> InspectedBatch:
    """Describe one batch of a stage as training would draw it: where each token comes from, and what each head is trained on.

    Args:
        recipe: as for `check`.
        overrides: as for `check`.
        stage: by default the first that trains heads.
        rows: rows of the batch.

    Raises:
        OmnikitError: as `check`; or a dataset cannot be read, or the stage has no batches.
    """
    from omnikit.data.inspect_stage import inspect_stage

    return inspect_stage(check(recipe, overrides), stage, rows)


def train(recipe: str | Path | Recipe | Plan, overrides: Sequence[str] = (), *, retrain: Collection[str] = (),
          wait: bool = False, jobs: int = 1) -> Run:
    """Train every stage that is not finished, and give the run.

    Args:
        recipe: as for `check`; a run's folder resumes that run.
        overrides: as for `check`; `run=FOLDER` sets the run's folder.
        retrain: finished stages that are trained again, `all` for each.
        wait: wait for another process that trains in the run's folder, instead of an error.
        jobs: stages that are trained side by side at most, where they do not start from each other's weights.

    Raises:
        OmnikitError: as `check`; or weights, data or the disk are not usable, or a preset named after a public checkpoint
            comes without its weights (`weights=random` starts from random numbers).
    """
    plan = check(recipe, overrides)
    require_weights(plan)

    from omnikit.recipe.dump import dump
    from omnikit.training.stage import train as trained

    folder, results = trained(plan, dump(plan.recipe), retrain=retrain, wait=wait, jobs=jobs)
    return Run(folder, plan, tuple(results))


def build(recipe: str | Path | Recipe | Plan, overrides: Sequence[str] = (), *, device: Device = None,
          dtype: str | None = None) -> Session:
    """Give a session with random weights, or with those that the recipe names.

    Args:
        recipe: as for `check`.
        overrides: as for `check`.
        device: "cpu", "cuda", "cuda:1"; None takes a GPU if there is one.
        dtype: of the backbone's weights, for example "bfloat16"; None leaves the recipe's.

    Raises:
        OmnikitError: as `check`; or named weights cannot be read or do not fit.
    """
    plan = check(recipe, overrides)

    from omnikit.inference.session import build as built

    return built(plan, device=device, dtype=dtype)


def load(run: str | Path | Run, stage: str | None = None, *, device: Device = None, dtype: str | None = None) -> Session:
    """Give a session with the newest weights of a run.

    Args:
        run: the run's folder, a link to it, a recipe's name for its latest run, or what `train` gives.
        stage: gives the weights as they were after this stage; parts that only later stages train are fresh.
        device: as for `build`.
        dtype: as for `build`.

    Raises:
        RunError: there is no such run, a stage is not finished, or a file is not what it was.
    """
    folder = _folder(run)

    from omnikit.inference.session import load as loaded

    session = loaded(folder, stage, device=device, dtype=dtype)
    session.run, session.stage = folder, stage or next(reversed(session.plan.stages), None)
    return session


def evaluate(run: str | Path | Run, *, asr: str | Path | None = None, limit: int | None = None, stage: str | None = None,
             data: Sequence[str] = (), batch_size: int = 32) -> Evaluation:
    """Score a run on the datasets that its recipe names under `evaluate`, or on others; the report is in the run's folder too.

    Args:
        run: as for `load`.
        asr: the run that transcribes the generated speech; None takes the recipe's, if it names one.
        limit: rows of each dataset at most, of every kind as many, spread over it.
        stage: scores the weights as they were after this stage.
        data: what is scored: titles of `evaluate.data`, files of rows, TITLE=FILE; empty for all of `evaluate.data`.
        batch_size: questions at a time.

    Raises:
        OmnikitError: a run is not finished, or the recipe evaluates on nothing.
    """
    folder = _folder(run)

    from omnikit.evaluation.score import Options, score

    options = Options(asr=asr, limit=limit, stage=stage, data=tuple(data), batch_size=batch_size)
    return Evaluation(*score(folder, options))


@dataclass(frozen=True, repr=False)
class Run:
    """A folder with trained stages, which `load` and `evaluate` take.

    Args:
        folder: where it lies.
        plan: the recipe that it was made of, wired.
        results: one for each stage, where this process trained it or found it finished.
    """

    folder: Path
    plan: Plan
    results: tuple[StageResult, ...] = field(default=())

    @staticmethod
    def open(run: str | Path) -> Run:
        """Open a run by its folder, a link to it, or a recipe's name for its latest run; RunError where there is none."""
        from omnikit.store.runs import load_plan

        folder = _folder(run)
        return Run(folder, load_plan(folder))

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the finished stages, in order."""
        from omnikit.store.runs import is_done

        return tuple(name for name in self.plan.stages if is_done(self.folder, self.plan, name))

    def load(self, stage: str | None = None, *, device: Device = None, dtype: str | None = None) -> Session:
        """Give a session with its weights; see `omnikit.load`."""
        return load(self, stage, device=device, dtype=dtype)

    def evaluate(self, *, asr: str | Path | None = None, limit: int | None = None, stage: str | None = None,
                 data: Sequence[str] = (), batch_size: int = 32) -> Evaluation:
        """Score it; see `omnikit.evaluate`."""
        return evaluate(self, asr=asr, limit=limit, stage=stage, data=data, batch_size=batch_size)

    def __repr__(self) -> str:
        """Give recipe, folder and stages in one line."""
        return f"Run(recipe={self.plan.recipe.name!r}, folder={str(self.folder)!r}, stages={', '.join(self.stages)!r})"

    def _repr_html_(self) -> str:
        """Give the wiring diagram, for notebooks."""
        return self.plan._repr_html_()


@dataclass(frozen=True, repr=False)
class Evaluation:
    """What `evaluate` gives: the report's numbers, and the folder with `report.html` and all answers."""

    folder: Path
    report: dict[str, Any]

    def __repr__(self) -> str:
        """Give the rows and the exact answers of each dataset in one line."""
        found = [f"{title}: {scores['rows']} rows" + (f", {exact['value']:.1%} exact" if exact else "")
                 for title, scores in self.report["scores"].items() for exact in [scores["numbers"].get("exact")]]
        return f"Evaluation({'; '.join(found)}; {self.folder}/report.html)"


def _folder(run: str | Path | Run) -> Path:
    """Give the folder of a run."""
    from omnikit.store.runs import find

    if isinstance(run, Run):
        return run.folder
    if not isinstance(run, str | Path):
        raise ConfigError(f"run is {_shown(run)}, but must be a run's folder, a recipe's name, or what omnikit.train gives.")
    return find(run)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 and "\n" not in text else f"a {type(value).__name__}"
