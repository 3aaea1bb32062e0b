"""When a stage is validated, and what follows: weights that are the best are saved, and a stage whose loss stays is over."""

import time
from collections.abc import Mapping
from pathlib import Path

import pytorch_lightning as L

from omnikit.contracts.types import LazyTensor
from omnikit.store import best_weights, training_checkpoint
from omnikit.training.checkpointing.checkpoints import Resumption
from omnikit.training.checkpointing.training_state import fill_tensors, trained_tensors
from omnikit.training.distributed import any_rank, gathering
from omnikit.training.module import Training
from omnikit.training.validation.held_out import HeldOut
from omnikit.training.validation.history import ValidationHistory


class ValidationSteps(L.Callback):
    """Validates every so many steps, and at the end.

    Training calls `step_ended`. A stage that was stopped before it validated a step resumes with that.

    Args:
        folder: the stage's.
    """

    def __init__(self, held_out: HeldOut, history: ValidationHistory, folder: Path, resumption: Resumption) -> None:
        self.held_out, self.history, self.folder, self.resumption = held_out, history, folder, resumption
        self.settings = held_out.settings

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, Training)
        if self.resumption.step and self._is_due(pl_module):
            self.validate(trainer, pl_module)

    def step_ended(self, trainer: L.Trainer, module: Training) -> None:
        """Validate if it is time, but not while a signal waits on some rank."""
        if self._is_due(module) and not any_rank([self.resumption.signals.received is not None], module.world)[0]:
            self.validate(trainer, module)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, Training)
        if not pl_module.stopped and self.history.step < pl_module.step:
            self.validate(trainer, pl_module)

    def validate(self, trainer: L.Trainer, module: Training) -> None:
        """Measure, write a row, save the weights if they are the best, and stop training if it is over.

        Every rank measures all rows; the first one's numbers count, and it writes.
        """
        found = module.world.agree(self.held_out.measure(trainer, module))
        best = self.history.add(module.step, found, time.monotonic() - self.resumption.begun)
        if best and self.settings.keep_best:
            with gathering(trained_tensors(module.model, module.stage.trained), module.world) as tensors:
                self._save_best(module.step, tensors)
        if self.history.is_over:
            trainer.should_stop = True

    def _save_best(self, step: int, tensors: Mapping[str, LazyTensor]) -> None:
        """Write the weights that are the best, and remove those that no checkpoint needs; without any, another rank does."""
        if tensors:
            best_weights.write(self.folder, step, tensors)
            needed = {self.history.best_step, *(record["best"] for record in training_checkpoint.records(self.folder))}
            best_weights.prune(self.folder, needed)

    def take_best(self, module: Training) -> None:
        """Give the model the best weights, where these are wanted."""
        if self.settings.keep_best:
            fill_tensors(module.model, module.stage.trained, best_weights.read(self.folder, self.history.best_step))

    def _is_due(self, module: Training) -> bool:
        due = module.step % self.settings.every == 0 or module.step == module.steps
        return due and self.history.step < module.step
