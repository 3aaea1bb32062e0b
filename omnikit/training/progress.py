"""A progress bar that costs a step next to nothing."""


import pytorch_lightning as L
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from omnikit.contracts.types import Batch
from omnikit.training.module import Training


class Bar(L.Callback):
    """Shows a stage's steps, its losses whenever a row of metrics was written, and how rows are packed."""

    def __init__(self, title: str) -> None:
        self.title = title

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, Training)
        self._bar = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                             TimeRemainingColumn(), TextColumn("{task.fields[losses]}"), refresh_per_second=2,
                             disable=not trainer.is_global_zero)
        self._task = self._bar.add_task(self.title, total=pl_module.steps, losses="")
        self._bar.start()

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: object, batch: object,
                           index: int) -> None:
        assert isinstance(pl_module, Training)
        losses = " ".join(f"{name} {value:.3f}" for name, value in pl_module.metrics.last.items())
        if isinstance(batch, Batch) and batch.documents is not None:
            rows, width = batch.documents.shape
            losses = f"{losses} · {len(batch.ids)} packed in {rows} x {width}"
        self._bar.update(self._task, completed=pl_module.step, losses=losses)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._bar.stop()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        if hasattr(self, "_bar"):
            self._bar.stop()
