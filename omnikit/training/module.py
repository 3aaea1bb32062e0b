"""Losses, summed and optimised: what Lightning runs in a stage that learns step by step."""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytorch_lightning as L
import torch
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from omnikit.contracts.types import Batch
from omnikit.data.batch.collate import to_device
from omnikit.errors import DataError
from omnikit.model import OmniModel
from omnikit.plan.plan import StagePlan
from omnikit.recipe.recipe import training_settings
from omnikit.store.facts import flat
from omnikit.taps import Taps
from omnikit.training.codecs.codec import CodecBatch, CodecLosses
from omnikit.training.codecs.vocoder import VocoderBatch, VocoderLosses
from omnikit.training.distributed import ALONE, World, spread_buffers, sum_gradients
from omnikit.training.feature_cache import FeatureCache
from omnikit.training.lockstep import run_every_part
from omnikit.training.monitoring.flops import device_peak, flops_per_token
from omnikit.training.monitoring.metrics import Columns, Metrics
from omnikit.training.monitoring.token_counts import TEXT, TokenCounts, count_tokens
from omnikit.training.monitoring.trackers import TrackedStage, Tracker, trackers
from omnikit.training.normalisation import WindowScales
from omnikit.training.optimizers import gradient_norms, optimizer, part_rates, rate

T = TypeVar("T")


class Counter(Protocol):
    """What counts something over the steps of a stage."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


class Training(L.LightningModule):
    """Weighted sum of the losses of one stage, one optimizer over the trained parts, and metrics.csv.

    The losses are those of the model's heads, unless `vocoding` gives a vocoder's or a codec's.

    This class waits for the accelerator only to write the row of metrics every `log_every` steps; a component may wait itself.

    Args:
        model: frozen already; what requires gradients is optimised.
        stage: whose losses, weights and rates count.
        metrics: the file that losses go to.
        steps: optimizer steps of the whole stage; the schedule ends with them.
        start: those that were done before.
        world: the processes that train it together.
        vocoding: the losses of `objective: vocoder` or `codec`, with discriminators where some are wanted.
    """

    def __init__(self, model: OmniModel, stage: StagePlan, metrics: Path, steps: int,
                 vocoding: VocoderLosses | CodecLosses | None = None, *, start: int = 0, world: World = ALONE) -> None:
        super().__init__()
        self.model = model
        self.stage = stage
        self.steps, self.start, self.world = steps, start, world
        self.sharded = False  # whether weights are shards, see omnikit.training.distributed
        self.ended = start  # the last step that is over
        self.stopped = False  # by a signal, before its end
        self.counters: dict[str, Counter] = {}  # what else counts, for checkpoints
        self.after_step: list[Callable[[], None]] = []  # called at the end of each optimizer step, when its metrics are written
        self.vocoding = vocoding
        self.weights = dict(stage.stage.loss)
        self.scales = WindowScales(self.weights, stage.stage.trainer.accumulate, world.size)
        self.cache: FeatureCache | None = None  # of what stands before the first trained part
        self.reached = False  # whether some batch moved what is trained
        self.past: Sequence[str] = ()  # rows of the last batch that did not
        self.metrics = Metrics(metrics, (*self.weights, *(vocoding.extra if vocoding else ())), stage.name, self._columns(),
                               self._trackers(metrics.parent))
        self._counted: deque[TokenCounts] = deque()  # of batches that are on the device and were not trained on yet
        self._idle = time.monotonic()  # since when no step is computed

    def _columns(self) -> Columns:
        modalities = (TEXT, *self.model.plan.inputs) if self.vocoding is None else ()
        peak = device_peak(self.stage.stage.trainer.precision)
        return Columns(self.stage.trained, modalities, flops_per_token(self.model, self.stage),
                       peak * self.world.size if peak else None)

    def _trackers(self, folder: Path) -> list[Tracker]:
        settings = flat(training_settings(self.stage.stage))
        return trackers(self.stage.stage.trainer.logger if self.world.is_first else (),
                        TrackedStage(self.model.plan.recipe.name, self.stage.name, settings, folder))

    @property
    def step(self) -> int:
        """Optimizer steps of the stage so far."""
        return self.start + self.global_step

    def training_step(self, batch: Batch | VocoderBatch | CodecBatch, index: int) -> Tensor | None:
        """Give the weighted sum of the losses, each scaled to the mean over its accumulation window.

        None, which skips the step, if the batch has a target for none of them, or if no trained part had a share in them: rows
        of text teach nothing to a projector of audio.
        """
        if isinstance(batch, Batch):
            losses, zero = self.batch_losses(batch)
        else:
            assert self.vocoding, "segments of speech come in a vocoder's or codec's stage only"
            losses, zero = self.vocoding(batch), None
        if not (isinstance(batch, Batch) and batch.repeated):
            self.metrics.add(losses, batch.target_counts)
        if self._counted:
            self.metrics.count(self._counted.popleft())
        if not any(loss.is_cuda for loss in losses.values()):  # elsewhere it would wait for the device at every step
            self.metrics.check(self.step + 1)
        scales = self.scales(batch, self.device)
        terms = [self.weights[name] * scales.get(name, 0.0) * loss for name, loss in losses.items() if name in self.weights]
        total = torch.stack(terms).sum() if terms else None
        if zero is not None:  # every rank takes part in a step, whatever its rows hold
            self.reached = self.reached or (total is not None and total.requires_grad)
            # FSDP2 takes the mean over ranks, but each loss is a share of the mean over what all of them hold
            return zero if total is None else zero + total * (self.world.size if self.sharded else 1)
        if total is not None and total.requires_grad:
            self.reached = True
            return total
        if isinstance(batch, Batch) and terms:
            self.past = batch.ids
        return None

    def batch_losses(self, batch: Batch) -> tuple[dict[str, Tensor], Tensor | None]:
        """Give the losses of a batch; of several ranks also 0 with every weight behind it, which the batch may not reach."""
        taps = Taps(self.model, batch, self.cache(batch) if self.cache else None)
        stored = self.cache.parts if self.cache else ()
        zero = run_every_part(taps, self.weights, stored) if self.sharded else None
        losses = self.model.tapped_losses(taps, self.weights)
        if self.world.size == 1 or self.sharded:
            return losses, zero
        first = next(weight for weight in self.model.parameters() if weight.requires_grad)
        return losses, 0 * first.flatten()[:1].float().sum()

    def forward_pass(self, compute: Callable[[], T]) -> T:
        """Give what is computed, with the weights collected that FSDP2 shards; every rank computes it, in the same layers."""
        return compute()

    def on_train_batch_end(self, outputs: object, batch: Batch | VocoderBatch | CodecBatch, index: int) -> None:
        self._end_step()
        self._idle = time.monotonic()

    def _end_step(self) -> None:
        if self.step == self.ended:  # more batches of the same step follow
            return
        self.ended = self.step
        for path in self.stage.trained:
            spread_buffers(self.model.get_submodule(path), self.world)
        if self._is_due(self.step) and self.step > self.metrics.step:
            self._write()
        for call in self.after_step:
            call()

    def on_train_batch_start(self, batch: Batch | VocoderBatch | CodecBatch, index: int) -> None:
        self.metrics.wait(time.monotonic() - self._idle)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        if not self.sharded:
            sum_gradients([weight for weight in self.model.parameters() if weight.requires_grad], self.world)
        if self._is_due(self.step + 1):
            self.metrics.gradients(gradient_norms(self.model, self.stage.trained))

    def on_train_start(self) -> None:
        self._idle = time.monotonic()

    def on_train_end(self) -> None:
        if self.stopped:
            return
        if self.past and not self.reached:
            raise DataError(f"Stage {self.stage.name}: no batch reached {', '.join(self.stage.trained)}, the last of rows"
                            f" {', '.join(self.past)}; give those rows a bigger share that do, or train another part.")
        if self.step > self.metrics.step:
            self._write()

    def _is_due(self, step: int) -> bool:
        return step % self.stage.stage.trainer.log_every == 0 or step == self.steps

    def _write(self) -> None:
        self.metrics.merge(self.world)
        if self.world.is_first:
            groups = self.trainer.optimizers[0].param_groups
            self.metrics.write(self.step, groups[0]["lr"], part_rates(self.model, self.stage.trained, groups))
        self.metrics.step = self.step

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        optim, run = self.stage.stage.optim, self.stage.stage.trainer
        # fused: one kernel for all weights; Lightning refuses to clip its gradients in mixed precision
        moves = optimizer(self.model, self.stage, fused=run.precision == "32-true")
        schedule = LambdaLR(moves, lambda step: rate(step, self.steps, optim))
        return {"optimizer": moves, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def progress_state(self) -> dict[str, Any]:
        """Give what this class counts, for a checkpoint."""
        counters = {name: counter.state_dict() for name, counter in self.counters.items()}
        return {"reached": self.reached, "past": list(self.past), "metrics": self.metrics.state_dict(), **counters}

    def load_progress_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `progress_state` gave."""
        self.reached, self.past = state["reached"], state["past"]
        if self.world.is_first:
            self.metrics.load_state_dict(state["metrics"])
        self.metrics.step = state["metrics"]["step"]
        for name, counter in self.counters.items():
            if name in state:
                counter.load_state_dict(state[name])

    def transfer_batch_to_device(self, batch: Batch | VocoderBatch | CodecBatch, device: torch.device,
                                 dataloader_idx: int) -> Batch | VocoderBatch | CodecBatch:
        if isinstance(batch, Batch):
            if self.trainer.training:
                self._counted.append(count_tokens(batch))
            return to_device(batch, device)
        return batch.mapped(lambda tensor: tensor.to(device, non_blocking=True))
