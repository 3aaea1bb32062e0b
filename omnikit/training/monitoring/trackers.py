"""Trackers get each row of metrics.csv as well: TensorBoard, Weights & Biases, MLflow, trackio; each is imported when used."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from omnikit.errors import RunError
from omnikit.plan.plan import StagePlan

log = logging.getLogger(__name__)
DEFAULT = ("tensorboard",)  # where nothing is set and it is installed


class Tracker(Protocol):
    """Takes numbers by name."""

    def log(self, step: int, numbers: Mapping[str, float]) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class TrackedStage:
    """What trackers call a stage.

    Args:
        settings: the stage's, by dotted key.
        folder: where their files go.
    """

    recipe: str
    stage: str
    settings: Mapping[str, object]
    folder: Path


OpenTracker = Callable[[TrackedStage, int], Tracker]  # with the first step


def trackers(wanted: Sequence[str] | None, stage: TrackedStage) -> list[Tracker]:
    """Open the trackers of a stage.

    Args:
        wanted: their names, which are those of their packages; None for TensorBoard where it is installed.
    """
    names = [name for name in DEFAULT if find_spec(name)] if wanted is None else wanted
    return [SafeTracker(name, OPEN[name], stage) for name in names]


def check_trackers(stages: Iterable[StagePlan]) -> None:
    """Raise RunError where a stage names a tracker that is not installed."""
    for stage in stages:
        for name in stage.stage.trainer.logger or ():
            if find_spec(name) is None:
                raise RunError(f"stages.{stage.name}.trainer.logger names {name}, which is not installed; install it with"
                               f" pip install {name}, or leave it out.")


class SafeTracker:
    """A tracker that opens with its first numbers, and whose failure ends no training: nothing more is sent to it then."""

    def __init__(self, name: str, open_tracker: OpenTracker, stage: TrackedStage) -> None:
        self.name, self._open, self._stage = name, open_tracker, stage
        self._tracker: Tracker | None = None
        self._failed = False

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Send numbers."""
        self._try(lambda: self._log(step, numbers))

    def close(self) -> None:
        """End it; what was sent is complete."""
        if self._tracker is not None:
            self._try(self._tracker.close)
        self._tracker = None

    def _log(self, step: int, numbers: Mapping[str, float]) -> None:
        if self._tracker is None:
            self._tracker = self._open(self._stage, step)
        self._tracker.log(step, numbers)

    def _try(self, call: Callable[[], None]) -> None:
        if self._failed:
            return
        try:
            call()
        except Exception as error:  # third-party code over a network may raise anything; hours of training shall not end by it
            log.warning("%s failed and gets no more numbers: %s: %s", self.name, type(error).__name__, error)
            self._failed = True


class TensorBoard:
    """Event files in the stage's folder; those of a training that was broken off count up to the step before `step`."""

    def __init__(self, stage: TrackedStage, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter  # takes 0.1 s

        self._writer = SummaryWriter(str(stage.folder / "tensorboard"), purge_step=step)

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Write numbers; a dot in a name becomes a slash, by which TensorBoard groups."""
        for name, value in numbers.items():
            self._writer.add_scalar(name.replace(".", "/", 1), value, step)

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


class WandB:
    """A run of Weights & Biases, offline unless WANDB_MODE is set; `wandb sync` sends it later."""

    def __init__(self, stage: TrackedStage, step: int) -> None:
        import wandb

        self._run = wandb.init(project="omnikit", group=stage.recipe, name=f"{stage.recipe}/{stage.stage}",
                               dir=str(stage.folder), config=dict(stage.settings), reinit="create_new",
                               mode=os.environ.get("WANDB_MODE", "offline"))

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Send numbers."""
        self._run.log(dict(numbers), step=step)

    def close(self) -> None:
        """End the run."""
        self._run.finish()


class MLflow:
    """A run of MLflow, in the stage's folder unless MLFLOW_TRACKING_URI is set."""

    def __init__(self, stage: TrackedStage, step: int) -> None:
        from mlflow import MlflowClient

        uri = os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{stage.folder.resolve()}/mlflow.db")
        self._client = MlflowClient(tracking_uri=uri)
        name = f"omnikit/{stage.recipe}"
        found = self._client.get_experiment_by_name(name)
        experiment = found.experiment_id if found else self._client.create_experiment(name)
        self._run = self._client.create_run(experiment, run_name=stage.stage).info.run_id
        for key, value in stage.settings.items():
            self._client.log_param(self._run, key, value)

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Send numbers."""
        for name, value in numbers.items():
            self._client.log_metric(self._run, name, value, step=step)

    def close(self) -> None:
        """End the run."""
        self._client.set_terminated(self._run)


class Trackio:
    """A run of trackio, which keeps its files on this machine unless it is configured otherwise."""

    def __init__(self, stage: TrackedStage, step: int) -> None:
        import trackio

        self._run = trackio.init(project="omnikit", name=f"{stage.recipe}/{stage.stage}", config=dict(stage.settings))

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Send numbers."""
        self._run.log(dict(numbers), step=step)

    def close(self) -> None:
        """End the run."""
        self._run.finish()


OPEN: dict[str, OpenTracker] = {
    "tensorboard": TensorBoard, "wandb": WandB, "mlflow": MLflow, "trackio": Trackio}
