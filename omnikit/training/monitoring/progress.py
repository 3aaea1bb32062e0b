"""How far a stage is: a bar on a terminal, elsewhere a line a minute; both cost a step next to nothing."""

import pytorch_lightning as L
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from omnikit.contracts.types import Batch
from omnikit.progress import ProgressLines, duration
from omnikit.training.module import Training
from omnikit.training.monitoring.estimate import RecipeEstimate


class Bar(L.Callback):
    """Shows a stage's steps, its last losses, how rows are packed, and how long the stage and the recipe still take.

    Args:
        stage: its name.
        estimate: of the recipe that it belongs to.
    """

    def __init__(self, stage: str, estimate: RecipeEstimate | None = None) -> None:
        self.stage, self.estimate = stage, estimate or RecipeEstimate({stage: None}, {})
        self._bar: Progress | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, Training)
        console, self._first = Console(), pl_module.step
        self._lines = ProgressLines(console)
        if not console.is_terminal:
            return
        self._bar = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                             TimeRemainingColumn(), TextColumn("{task.fields[numbers]}"), refresh_per_second=2,
                             disable=not trainer.is_global_zero, console=console)
        self._task = self._bar.add_task(self.estimate.title(self.stage), total=pl_module.steps, numbers="")
        self._bar.start()

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: object, batch: object,
                           index: int) -> None:
        assert isinstance(pl_module, Training)
        if self._bar is not None:
            numbers = " · ".join(filter(None, (_losses(pl_module), _packed(batch), self._left(pl_module))))
            self._bar.update(self._task, completed=pl_module.step, numbers=numbers)
        elif trainer.is_global_zero and self._lines.is_due():
            self._lines.write(self._line(pl_module, batch))

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, Training)
        if self._bar is not None:
            self._bar.stop()
        elif trainer.is_global_zero:
            self._lines.write(f"{self.estimate.title(self.stage)}: {pl_module.step} steps in {duration(self._lines.seconds)}"
                              f"{_after(', ', _losses(pl_module))}{_after('; ', self._left(pl_module))}")

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _line(self, module: Training, batch: object) -> str:
        """Give a line for a log: place, steps, time of a step, time left, losses."""
        done, todo = module.step - self._first, module.steps - module.step
        each = self._lines.seconds / done if done else None
        pace = f", {each:.2g} s a step, about {duration(each * todo)} left" if each else ""
        return (f"{self.estimate.title(self.stage)}: step {module.step} of {module.steps}{pace}"
                f"{_after(', ', _losses(module))}{_after(', ', _packed(batch))}{_after('; ', self._left(module))}")

    def _left(self, module: Training) -> str:
        """Give how long the whole recipe still takes."""
        todo = module.steps - self._first
        return self.estimate.sentence(self.stage, self._lines.seconds, (module.step - self._first) / todo if todo else 1.0)


def _losses(module: Training) -> str:
    return " ".join(f"{name} {value:.3f}" for name, value in module.metrics.last.items())


def _packed(batch: object) -> str:
    if not isinstance(batch, Batch) or batch.documents is None:
        return ""
    rows, width = batch.documents.shape
    return f"{len(batch.ids)} packed in {rows} x {width}"


def _after(mark: str, text: str) -> str:
    return f"{mark}{text}" if text else ""
