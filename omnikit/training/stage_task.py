"""A stage in its run: the folder that it is trained in, its name there and its record once it is trained. Trains nothing."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from omnikit.errors import OmnikitError
from omnikit.plan.plan import Plan, StagePlan
from omnikit.store.files import disk_errors
from omnikit.store.stage_folder import filling, publish
from omnikit.store.tokenizer_files import hold_tokenizer
from omnikit.store.training_checkpoint import TrainingCheckpoint
from omnikit.training.monitoring.estimate import RecipeEstimate
from omnikit.training.monitoring.run_page import write_page
from omnikit.training.run_state import RunState


@dataclass(frozen=True)
class StageResult:
    """One line of the table of stages; `numbers` are the last losses, or what a fit reports."""

    stage: str
    trained: tuple[str, ...]
    steps: int
    seconds: float
    numbers: dict[str, float] = field(default_factory=dict)
    skipped: bool = False


@dataclass(frozen=True)
class StageTask:
    """A stage to train, and where.

    Args:
        folder: the run's.
        partial: the stage's own until it is complete.
        start: the checkpoint to go on from.
        files: path → hash of those that it takes weights from.
        command: that trains it, for its record.
    """

    plan: Plan
    stage: StagePlan
    folder: Path
    partial: Path
    start: TrainingCheckpoint | None
    files: dict[str, str]
    estimate: RecipeEstimate
    command: tuple[str, ...]


@dataclass(frozen=True)
class StageOutcome:
    """What became of a stage in another process: a result or an error; neither where a signal stopped it."""

    result: StageResult | None = None
    error: OmnikitError | None = None


@contextmanager
def completing(state: RunState, stage: StagePlan) -> Iterator[StageTask]:
    """Give a stage to train; trained without an error, it gets its name in the run, which records it."""
    start = state.checkpoint(stage.name)
    with filling(state.folder, stage.name, start.stage_folder if start else None) as partial:
        with disk_errors(state.folder / stage.name):
            (partial / "config.yaml").write_text(state.config)
        files = state.files(stage.name)  # before they are read: what changes meanwhile is seen the next time
        yield StageTask(state.plan, stage, state.folder, partial, start, files, state.estimate,
                        tuple(sys.argv))
        publish(state.folder, stage.name)
    hold_run_tokenizer(state.plan, state.folder)
    state.finish(stage.name)
    write_page(state.plan, state.folder)


def hold_run_tokenizer(plan: Plan, folder: Path) -> None:
    """Copy the tokenizer's files into a run's folder."""
    with disk_errors(folder):
        hold_tokenizer(plan.tokenizer, folder)
