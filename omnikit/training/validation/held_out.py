"""Losses on held-out rows while a stage is trained: the same rows in the same order each time, in eval mode.

It draws nothing at random and changes no weight, so that training with it is training without it. Answers are not generated:
that is evaluation, which training does not import.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import pytorch_lightning as L
import torch
from torch import Tensor

from omnikit.contracts.protocols import Reader
from omnikit.contracts.types import Batch
from omnikit.data.batch.collate import Collator, to_device
from omnikit.data.batch.loader import BatchLoader
from omnikit.data.batch.samplers import MixtureDataset, SampleKey
from omnikit.data.batch.tolerant import row_batches
from omnikit.model import OmniModel
from omnikit.plan.branches import OutputBranch
from omnikit.plan.stage_plan import StagePlan
from omnikit.plan.validation_checks import counted
from omnikit.recipe.validation_settings import Validate
from omnikit.taps import Taps
from omnikit.training.checkpointing.training_state import RandomState, restore_random_state
from omnikit.training.distributed import reshard
from omnikit.training.module import Training
from omnikit.training.validation.history import Means

POSITIONS = 1024  # whose logits are in memory at once
IGNORED = -100


@dataclass(frozen=True)
class FixedOrder:
    """The first rows of a dataset, in its order, the same in every pass."""

    dataset: str
    rows: int
    batch_size: int

    def batches(self, number: int) -> Iterator[list[SampleKey]]:
        """Give the keys of each batch."""
        keys = [(self.dataset, index) for index in range(self.rows)]
        return (keys[at:at + self.batch_size] for at in range(0, self.rows, self.batch_size))

    def count(self, number: int) -> int:
        """Give the batches of a pass."""
        return -(-self.rows // self.batch_size)


class HeldOut:
    """Measures a model on the held-out rows of a stage.

    Args:
        readers: those of the held-out datasets.
        collate: as training's.
        workers: processes that make batches.
        on_batch: called with each batch.
    """

    def __init__(self, stage: StagePlan, settings: Validate, readers: Mapping[str, Reader], collate: Collator, *,
                 workers: int = 0, on_batch: Callable[[Batch], None] = lambda batch: None) -> None:
        self.on_batch = on_batch
        self.stage, self.settings, self.collate, self.workers = stage, settings, collate, workers
        self.mixture = MixtureDataset(readers, collate.plan.image_spec, collate.plan.recipe.media)
        self.accurate = counted(stage, collate.plan.outputs) if "accuracy" in settings.metrics else []

    def measure(self, trainer: L.Trainer, module: Training) -> dict[str, Means]:
        """Give dataset → its means; the model is as before, and so is every random generator."""
        state, model = RandomState.now(), module.model
        model.eval()
        try:
            with torch.no_grad(), trainer.precision_plugin.forward_context():
                return {name: self._measure(name, module) for name in self.mixture.readers}
        finally:
            reshard(module)
            model.train()
            restore_random_state(state.plain())

    def _measure(self, dataset: str, module: Training) -> Means:
        rows, size = len(self.mixture.readers[dataset]), self.stage.stage.trainer.batch_size
        order = FixedOrder(dataset, min(rows, self.settings.rows or rows), size)
        loader = BatchLoader(order, row_batches(self.mixture, self.collate), workers=self.workers, passes=1)
        sums: dict[str, Tensor] = {}
        counts: dict[str, float] = {}
        for batch in loader:
            self.on_batch(batch)
            for name, (mean, count) in module.forward_pass(partial(self._batch_means, batch, module)).items():
                sums[name] = sums.get(name, 0.0) + mean.double() * count
                counts[name] = counts.get(name, 0.0) + count
        return {name: float(total) / counts[name] for name, total in sums.items()}

    def _batch_means(self, batch: Batch, module: Training) -> dict[str, tuple[Tensor, float]]:
        """Give each mean with what it is one over."""
        moved = to_device(batch, module.device)
        taps, outputs = Taps(module.model, moved), module.model.plan.outputs
        losses = module.model.tapped_losses(taps, self.stage.stage.loss)
        found = {f"loss.{name}": (loss, count) for name, loss in losses.items() if (count := batch.target_counts[name])}
        return found | {f"accuracy.{name}": accuracy(module.model, taps, outputs[name]) for name in self.accurate
                        if f"loss.{name}" in found}


def accuracy(model: OmniModel, taps: Taps, output: OutputBranch) -> tuple[Tensor, float]:
    """Give the fraction of target tokens that have the highest logit, and how many there are."""
    states = taps.states(output).data.flatten(0, 1)  # [C x U, D]
    ids = taps.batch.targets[output.name].ids.flatten()  # [C x U]
    wanted = (ids != IGNORED).nonzero()[:, 0]
    right = [(model.head_input(output, states[part][None], torch.tensor([len(part)])).data[0].argmax(-1) == ids[part]).sum()
             for part in torch.split(wanted, POSITIONS)]
    return torch.stack(right).sum() / len(wanted), float(len(wanted))
