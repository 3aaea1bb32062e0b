"""Checkpoints of a stage: when one is written, what it holds, and how training goes on from it.

One is written only at the end of an optimizer step, when no gradient is half accumulated. Lightning's loops take no part: a
resumed stage is one epoch of the batches that are left.
"""

import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytorch_lightning as L
import torch

from omnikit.data.batch.loader import Position
from omnikit.errors import RunError
from omnikit.plan.plan import StagePlan
from omnikit.recipe.interval import parse_interval
from omnikit.store import training_checkpoint
from omnikit.store.training_checkpoint import StepCounter, TrainingCheckpoint
from omnikit.training.checkpointing import sharded_checkpoint
from omnikit.training.checkpointing.step_end import Buffers, StepEnd
from omnikit.training.checkpointing.stop_signals import StopSignals
from omnikit.training.checkpointing.training_state import (
    State,
    check_finite,
    fill_from_shards,
    fill_tensors,
    restore_random_state,
    restore_training_state,
    trained_tensors,
    training_state,
)
from omnikit.training.distributed import ALONE, World, any_rank
from omnikit.training.module import Training
from omnikit.training.validation.history import ValidationHistory


@dataclass(frozen=True)
class Resumption:
    """What a stage's checkpoints are written with and resumed from.

    Args:
        start: the checkpoint to go on from; None at the beginning.
        record: what the stage is made of, for each of its checkpoints.
        signals: those that stop the stage.
        begun: time.monotonic() when the stage began, were it trained in one go.
        is_over: whether it stopped early, so that nothing is left but to save what it gives.
        world: the processes that train it together; the first of them writes.
    """

    start: TrainingCheckpoint | None
    record: Mapping[str, object]
    signals: StopSignals
    begun: float
    is_over: bool = False
    world: World = ALONE

    @property
    def step(self) -> int:
        """Optimizer steps that are done."""
        return self.start.step if self.start else 0

    @property
    def position(self) -> Position:
        """The first batch that is left."""
        return Position(*self.start.record["position"]) if self.start else Position()


class Checkpoints(L.Callback):
    """Writes the checkpoints of a stage into its folder, and puts the one that it resumes from back into model and trainer.

    Training calls `mark` at the end of a step, and `step_ended` once all other work of the step is done.

    Args:
        folder: the stage's.
        history: of its validations, where there are some.
    """

    def __init__(self, stage: StagePlan, folder: Path, resumption: Resumption,
                 history: ValidationHistory | None = None) -> None:
        self.stage, self.folder, self.resumption, self.history = stage, folder, resumption, history
        self.every, self.keep = parse_interval(stage.stage.trainer.save_every), stage.stage.trainer.keep
        self.world = resumption.world
        self.counter = StepCounter(folder) if self.world.is_first else None
        self.saved, self.saved_at = resumption.step, time.monotonic()
        self.state = resumption.start.state() if resumption.start else None
        self.stepping = False  # whether the optimizer may have changed weights since the end of the last step

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, Training)
        if self.counter:
            self.counter.write(self.resumption.step)
        if self.resumption.start and self.state:
            start = self.resumption.start
            if start.is_sharded:
                fill_from_shards(pl_module.model, self.stage.trained, start.folder)
            else:
                fill_tensors(pl_module.model, self.stage.trained, start.tensors())
            restore_training_state(trainer, pl_module, self.state, start)
        self.buffers = Buffers(pl_module)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, Training)
        self.resumption.signals.install()  # Lightning has taken SIGTERM by now
        if self.state:
            self._restore_random(self.state["random"])
        self.state = None
        self.end = StepEnd.of(pl_module, self.resumption.position, self.buffers)

    def _restore_random(self, states: list[State]) -> None:
        """Let every generator go on as it did; with another number of ranks than then each draws from a seed of its own."""
        if len(states) == self.world.size:
            restore_random_state(states[self.world.rank])
        else:
            torch.manual_seed(torch.initial_seed() + self.world.rank)

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: object) -> None:
        self.stepping = True

    def mark(self, module: Training, position: Position) -> None:
        """Note the end of a step.

        Args:
            position: of the batch that comes next.
        """
        if self.counter:
            self.counter.write(module.step)
        self.end, self.stepping = StepEnd.of(module, position, self.buffers), False

    def step_ended(self, trainer: L.Trainer, module: Training, position: Position) -> None:
        """Write a checkpoint if one is due, or if a signal asks training to stop, which it then does.

        Raises:
            RunError: a loss or a weight is not a number, so that nothing is written; or the disk refuses.
        """
        due = self.world.is_first and self._is_due(module.step) and module.step < module.steps
        stopping, due = any_rank([self.resumption.signals.received is not None, due], self.world)
        if stopping or due:
            module.metrics.merge(self.world)
        self.mark(module, position)
        if stopping or due:
            module.metrics.check(module.step)
            self.write(trainer, module)
        if stopping:
            self.resumption.signals.received = self.resumption.signals.received or signal.SIGTERM  # another rank has it
            trainer.should_stop = module.stopped = True

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Save the end of the last step, unless it cannot be had any more: discriminators step before the loss is there."""
        assert isinstance(pl_module, Training)
        whole = not self.stepping and not pl_module.vocoding and self.world.size == 1  # others may not get there
        if isinstance(exception, Exception) and whole and hasattr(self, "end") and self.end.step < pl_module.steps:
            self.end.put_back()
            with suppress(RunError):  # the stage ends with the exception, whatever the disk answers
                self.write(trainer, pl_module)

    def write(self, trainer: L.Trainer, module: Training, *, last: bool = False) -> None:
        """Write the checkpoint of the last end of a step; the last one of a stage replaces those before it.

        Every rank takes part; the first one writes, of shards each its own.

        Raises:
            RunError: a loss or a weight is not a number, so that nothing is written; or the disk refuses.
        """
        end = self.end
        if end.step == self.saved and not last:
            return
        check_finite(module.model, self.stage, end.step, self.world)
        record: dict[str, object] = {
                  **self.resumption.record, "step": end.step, "steps": module.steps,
                  "seconds": round(time.monotonic() - self.resumption.begun, 1),
                  "position": [end.position.number, end.position.batch]}
        if self.history:
            record |= {"best": self.history.best_step, "over": self.history.is_over}
        state = {**training_state(trainer, module), "module": end.counts, "random": self.world.all(end.random.plain())}
        tensors, keep = trained_tensors(module.model, self.stage.trained), 1 if last else max(1, self.keep)
        if module.sharded:
            sharded_checkpoint.write(self.folder, record, tensors, state, world=self.world, keep=keep)
        elif self.world.is_first:
            training_checkpoint.write(self.folder, record, tensors, state, keep)
        self.saved, self.saved_at = end.step, time.monotonic()

    def close(self) -> None:
        """Close what is open."""
        if self.counter:
            self.counter.close()

    def _is_due(self, step: int) -> bool:
        if self.every.steps is not None:
            return step % self.every.steps == 0
        return time.monotonic() - self.saved_at >= (self.every.seconds or 0)
