"""What a stage fits, by its objective: heads by their losses, or one codec by its own. Uses no run folder."""

import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from math import ceil
from pathlib import Path
from typing import TypeVar, cast

import pytorch_lightning as L
import torch
import torch.utils.deterministic
from lightning_fabric.plugins.environments.lightning import LightningEnvironment

from omnikit.contracts.configs import CodecConfig, VocoderConfig
from omnikit.contracts.optional import codec_options
from omnikit.contracts.protocols import FittedCodec, Reader, TrainableCodec, Vocoder
from omnikit.contracts.types import Batch
from omnikit.data.batch.codes import Codes
from omnikit.data.batch.collate import Collator
from omnikit.data.batch.lengths import LengthCounter
from omnikit.data.batch.loader import BatchLoader, BatchOrder, NumberedBatches, worker_count
from omnikit.data.batch.packing import PackingSampler
from omnikit.data.batch.sample_lengths import SampleLengths
from omnikit.data.batch.samplers import LengthBucketSampler, MixtureDataset, MixtureSampler
from omnikit.data.batch.token_batches import TokenBatchSampler
from omnikit.data.batch.tolerant import packed_batches, row_batches, tolerant
from omnikit.data.batch.worker_errors import plain_errors
from omnikit.data.speech import find_speech, joined
from omnikit.errors import DataError
from omnikit.model import OmniModel
from omnikit.plan.plan import Plan, StagePlan
from omnikit.progress import progress
from omnikit.recipe.recipe import TrainerConfig
from omnikit.training.checkpointing.checkpoints import Checkpoints, Resumption
from omnikit.training.codecs import codec
from omnikit.training.codecs.codec import CodecBatch, CodecLosses
from omnikit.training.codecs.vocoder import VocoderBatch, VocoderDataset, VocoderLosses, label
from omnikit.training.distributed import ALONE, World, gather, shard
from omnikit.training.feature_cache import FeatureCache, feature_cache
from omnikit.training.module import Training
from omnikit.training.monitoring.estimate import RecipeEstimate
from omnikit.training.monitoring.progress import Bar
from omnikit.training.skipped_rows import SkippedRows
from omnikit.training.trainable.missing_gradients import MissingGradients
from omnikit.training.validation.held_out import HeldOut
from omnikit.training.validation.history import FILE, ValidationHistory
from omnikit.training.validation.steps import ValidationSteps

Lengthy = TypeVar("Lengthy", PackingSampler, TokenBatchSampler)
B = TypeVar("B", Batch, VocoderBatch, CodecBatch)
Key = TypeVar("Key")


@dataclass(frozen=True)
class StageFit:
    """What fitting a stage needs.

    Args:
        model: with the weights that the stage starts from, what it does not train frozen.
        folder: that its metrics go to.
        seed: the stage's own.
        resumption: what its checkpoints need.
        held_out: readers of the rows that it is validated on.
        estimate: how long the recipe takes, for the progress that is shown.
    """

    plan: Plan
    stage: StagePlan
    model: OmniModel
    readers: dict[str, Reader]
    folder: Path
    seed: int
    resumption: Resumption
    held_out: dict[str, Reader]
    estimate: RecipeEstimate | None = None

    @property
    def trainer(self) -> TrainerConfig:
        """How long and on what it runs."""
        return self.stage.stage.trainer


Fitted = tuple[int, dict[str, float]]  # steps, and the last losses or what a fit reports


def fit_heads(fit: StageFit) -> Fitted:
    """Train heads, and what stands before them, by the sum of their losses."""
    mixture = MixtureDataset(fit.readers, fit.plan.image_spec, fit.plan.recipe.media)
    collate, run, data = collator(fit.plan, fit.stage, fit.model), fit.trainer, fit.stage.stage.data
    tolerant(fit.readers, collate)
    if run.pack is None and run.batch_tokens is None:
        order = LengthBucketSampler(mixture, data, run.batch_size, fit.seed, window=run.window)
        return _fit_heads(fit, order, row_batches(mixture, collate), collate)
    sampler, sizes = MixtureSampler(mixture, data, fit.seed), SampleLengths(mixture, LengthCounter(collate), _workers(run))
    if run.pack is None:
        budgeted = TokenBatchSampler(sampler, sizes, batch_tokens=run.batch_tokens or 1, window=run.window,
                                     passes=run.max_epochs)
        return _fit_heads(fit, _measured(fit, budgeted), row_batches(mixture, collate), collate)
    packs = PackingSampler(sampler, sizes, batch_size=(run.batch_tokens or run.batch_size * run.pack) // run.pack,
                           pack=run.pack, passes=run.max_epochs)
    return _fit_heads(fit, _measured(fit, packs), packed_batches(mixture, collate), collate)


def _fit_heads(fit: StageFit, order: BatchOrder[Key], make: Callable[[Key], Batch], collate: Collator) -> Fitted:
    with feature_cache(fit.plan, fit.stage, fit.model, fit.resumption.world) as cache:
        if cache:
            cache.check(fit.readers, collate)
        return _fit(fit, order, cache.keyed(make) if cache else make, cache=cache)


def _measured(fit: StageFit, order: Lengthy) -> Lengthy:
    """Give an order whose passes have lengths, where the number of steps depends on them."""
    if fit.trainer.max_epochs is not None:
        with progress(f"{fit.stage.name}: lengths") as report:
            order.measure(report)
    return order


def fit_vocoder(fit: StageFit) -> Fitted:
    """Train a vocoder by its own losses."""
    stage, branch = fit.stage.stage, fit.stage.trained[0].partition(".")[0]
    output = fit.plan.outputs[branch]
    # the plan lets `vocoder` train such only
    config, units = cast(VocoderConfig, output.codec), cast(CodecConfig, output.units)
    maker = fit.model.get_submodule(output.code_source_part or f"{branch}.codec").to(accelerator(fit.trainer))
    with progress(f"{fit.stage.name}: labels") as report:
        speech = label(fit.readers, fit.model.units(branch), config, report, sample_rate=units.spec.sample_rate,
                       device=accelerator(fit.trainer), limits=fit.plan.recipe.media)
    maker.cpu()
    segments = VocoderDataset(speech, stage.data, fit.trainer.batch_size, config.segment, fit.seed)
    losses = VocoderLosses(cast(Vocoder, fit.model.codec(branch)), stage.loss, config, stage.optim.lr)
    return _fit(fit, NumberedBatches(len(segments)), segments.batch, losses)


def fit_codec(fit: StageFit) -> Fitted:
    """Train a codec by its own losses."""
    stage, part = fit.stage.stage, fit.stage.trained[0]
    config, learner = cast(VocoderConfig, fit.plan.parts()[part]), cast(TrainableCodec, fit.model.get_submodule(part))
    with progress(f"{fit.stage.name}: speech") as report:
        waves = codec.speech(fit.readers, config.spec.sample_rate, report, fit.plan.recipe.media)
    length = int(config.segment * config.spec.sample_rate / config.spec.rate)
    cuts = codec.CodecDataset(waves, stage.data, fit.trainer.batch_size, length, fit.seed)
    order = NumberedBatches(len(cuts))
    fresh = part not in fit.stage.origins and codec_options(config).weights is None
    batches = count_batches(fit.trainer, order)
    losses = codec.CodecLosses(learner, stage.loss, config, lr=stage.optim.lr, seed=fit.seed, batches=batches,
                               uncoded=int(codec.UNCODED * batches) if fresh else 0)
    steps, numbers = _fit(fit, order, cuts.batch, losses)
    fit.model.eval().to(accelerator(fit.trainer))
    with progress(f"{fit.stage.name}: usage") as report:
        return steps, numbers | codec.measured(learner, config, waves, report, accelerator(fit.trainer))


def count_batches(run: TrainerConfig, order: BatchOrder[Key]) -> int:
    """Give the batches of a stage: those of its steps or of its passes, whichever are fewer."""
    limits = [run.max_steps * run.accumulate * run.processes] if run.max_steps else []
    if run.max_epochs:
        limits.append(sum(order.count(number) for number in range(run.max_epochs)))
    return min(limits)


def _fit(fit: StageFit, order: BatchOrder[Key], make: Callable[[Key], B],
         losses: VocoderLosses | CodecLosses | None = None, cache: FeatureCache | None = None) -> Fitted:
    """Train step by step; for Lightning it is one epoch, whose length is decided here alone."""
    run, batches, resumption = fit.trainer, count_batches(fit.trainer, order), fit.resumption
    window, world = run.accumulate * run.processes, resumption.world
    skipped = SkippedRows(fit.folder, fit.plan.recipe.row_policies)
    loader = BatchLoader(order, make, seed=fit.seed, workers=_workers(run), window=run.accumulate, on_window=skipped.of_window,
                         start=resumption.position, passes=run.max_epochs,
                         batches=0 if resumption.is_over else max(0, batches - resumption.step * window),
                         rank=world.rank, world=world.size)
    module = Training(fit.model, fit.stage, fit.folder / "metrics.csv", ceil(batches / window), losses, start=resumption.step,
                      world=world)
    module.cache = cache
    validation = _validation(fit, skipped)
    checkpoints = Checkpoints(fit.stage, fit.folder, resumption, validation.history if validation else None)
    own: list[L.Callback] = [Bar(fit.stage.name, fit.estimate), MissingGradients(fit.stage.name), checkpoints,
                             PositionCounter(loader)]
    trainer = lightning(fit.stage, fit.folder, [*own, validation] if validation else own, world)
    module.after_step.append(lambda: checkpoints.mark(module, loader.position))
    if validation:
        module.counters["validation"] = validation.history
        module.after_step.append(partial(validation.step_ended, trainer, module))
    module.after_step.append(lambda: checkpoints.step_ended(trainer, module, loader.position))
    with (resumption.signals.deferred(), closing(checkpoints), closing(loader), closing(module.metrics),
          sharded(module, run, fit.folder)):
        _run(trainer, module, loader)
        if not module.stopped:
            checkpoints.mark(module, loader.position)
            checkpoints.write(trainer, module, last=True)
    if validation and world.is_first:
        validation.take_best(module)
    numbers = validation.history.numbers() if validation else {}
    return module.step, module.metrics.last | numbers | skipped.of_readers(fit.readers).numbers()


def _validation(fit: StageFit, skipped: SkippedRows) -> ValidationSteps | None:
    settings = fit.stage.stage.validate
    if not settings.datasets:
        return None
    held_out = HeldOut(fit.stage, settings, fit.held_out, collator(fit.plan, fit.stage, fit.model),
                       workers=_workers(fit.trainer), on_batch=skipped.of_batch)
    history = ValidationHistory(fit.folder / FILE, settings, fit.stage.stage.loss,
                                writes=fit.resumption.world.is_first)
    return ValidationSteps(held_out, history, fit.folder, fit.resumption)


@contextmanager
def sharded(module: Training, run: TrainerConfig, folder: Path) -> Iterator[None]:
    """Shard all weights over the ranks while a stage is trained, if its strategy is fsdp2.

    Afterwards the first rank has them, in files that lie in the folder and have no name.
    """
    if run.strategy != "fsdp2":
        yield
        return
    originals = shard(module, module.model, module.world, ("batch_losses", "forward_pass"), again=run.reshard)
    module.sharded = True
    yield
    gather(module, originals, folder if module.world.is_first else None)
    module.sharded = False


class PositionCounter(L.Callback):
    """Lets a loader count the batches that were trained on."""

    def __init__(self, loader: BatchLoader[Key, B]) -> None:
        self.finished = loader.finished

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: object, batch: object,
                           index: int) -> None:
        self.finished()


def lightning(stage: StagePlan, folder: Path, callbacks: list[L.Callback], world: World = ALONE) -> L.Trainer:
    """Give Lightning's trainer with nothing switched on that a stage does not ask for: no logger, no checkpoints.

    To Lightning every rank is alone with its device: Training adds up what they share (omnikit.training.distributed).
    """
    # deterministic mode also writes NaN into every new tensor, which costs time and changes no result of ours
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # its stub lacks it
    run = stage.stage.trainer
    return L.Trainer(
        max_epochs=1, accumulate_grad_batches=run.accumulate,
        precision="bf16-mixed" if run.precision == "bf16-true" else run.precision,  # autocast, around frozen halves
        accelerator=run.accelerator, devices=[world.local_rank] if world.size > 1 and torch.cuda.is_available() else 1,
        plugins=[LightningEnvironment()] if world.size > 1 else None,
        gradient_clip_val=stage.stage.optim.clip, deterministic="warn", callbacks=callbacks, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
        num_sanity_val_steps=0, default_root_dir=folder)


def _run(trainer: L.Trainer, module: Training, loader: BatchLoader[Key, B]) -> None:
    """Fit, and give interruptions and mistakes in the data back as they were raised."""
    interrupt = signal.getsignal(signal.SIGINT)
    try:
        with plain_errors():
            trainer.fit(module, loader)
    except SystemExit as error:  # Lightning's answer to Ctrl-C: it ignores the signal from then on and leaves the program
        signal.signal(signal.SIGINT, interrupt)
        raise KeyboardInterrupt from error


def fit_units(fit: StageFit) -> Fitted:
    """Fit a codec to the spoken answers, in one go."""
    part = fit.stage.trained[0]
    rate = cast(CodecConfig, fit.plan.parts()[part]).spec.sample_rate  # the plan lets `units` train codecs only
    waves = joined(list(find_speech(fit.readers, rate, lambda fraction: None, questions=False,
                                    limits=fit.plan.recipe.media).values()))
    if not waves:
        raise DataError(f"Stage {fit.stage.name} finds no spoken answer in {', '.join(fit.readers)}, but fits units to them.")
    with progress(fit.stage.name) as report:
        learner = cast(FittedCodec, fit.model.get_submodule(part).to(accelerator(fit.trainer)))
        numbers = learner.fit(waves, torch.Generator().manual_seed(fit.seed), report)
    used, skipped = waves.used_samples(), SkippedRows(fit.folder, fit.plan.recipe.row_policies).of_readers(fit.readers)
    return 0, numbers | skipped.numbers() | {"speech_seconds": used / rate, "speech_fraction": used / sum(waves.lengths)}


def _workers(run: TrainerConfig) -> int:
    return worker_count(run.workers, gpu=accelerator(run) == "cuda")


def accelerator(run: TrainerConfig) -> str:
    """Give the device for what a stage computes beside its steps: labels of speech, clusters."""
    return "cuda" if run.accelerator != "cpu" and torch.cuda.is_available() else "cpu"


def collator(plan: Plan, stage: StagePlan, model: OmniModel) -> Collator:
    """Give the collator of a stage: its losses' targets, with codes from the model's own codec where it encodes."""
    outputs = {name: plan.outputs[name] for name in stage.stage.loss}
    return Collator(plan, list(outputs), {
        name: Codes(model.units(name), output.code_source.spec.sample_rate) for name, output in outputs.items()
        if output.code_source})
