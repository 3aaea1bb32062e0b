"""What a stage fits, by its objective: heads by their losses, or one codec by its own. Uses no run folder."""

import signal
from pathlib import Path
from typing import cast

import pytorch_lightning as L
import torch
import torch.utils.deterministic
from torch.utils.data import DataLoader

from omnikit.contracts.configs import CodecConfig, VocoderConfig
from omnikit.contracts.optional import codec_options
from omnikit.contracts.protocols import FittedCodec, Reader, TrainableCodec, Vocoder
from omnikit.contracts.types import Sample
from omnikit.data.batch.codes import Codes
from omnikit.data.batch.collate import Collator
from omnikit.data.batch.lengths import LengthCounter
from omnikit.data.batch.packing import PackedCollator, PackedSamples, PackingSampler
from omnikit.data.batch.samplers import LengthBucketSampler, MixtureDataset, MixtureSampler, data_loader
from omnikit.data.batch.signals import answer_audio, load_waveform
from omnikit.errors import DataError, OmnikitError
from omnikit.model import OmniModel
from omnikit.plan.plan import Plan, StagePlan
from omnikit.progress import progress
from omnikit.training import codec
from omnikit.training.module import Training
from omnikit.training.progress import Bar
from omnikit.training.vocoder import VocoderBatch, VocoderDataset, VocoderLosses, label

Loader = DataLoader[Sample] | DataLoader[list[Sample]]  # by what a dataset gives; what comes out are batches


def fit_heads(plan: Plan, stage: StagePlan, model: OmniModel, readers: dict[str, Reader], partial: Path,
               seed: int) -> tuple[int, dict[str, float]]:
    trainer = lightning(stage, partial, [Bar(stage.name)])
    module = Training(model, stage, partial / "metrics.csv")
    _fit(trainer, module, batches(stage, MixtureDataset(readers, plan.image_spec), collator(plan, stage, model), seed))
    return trainer.global_step, module.metrics.last


def batches(stage: StagePlan, mixture: MixtureDataset, collate: Collator, seed: int) -> Loader:
    """Give the loader of a stage: batches of rows of similar length, or of packed rows where the stage packs."""
    run = stage.stage.trainer
    if run.pack is None:
        sampler = LengthBucketSampler(mixture, stage.stage.data, run.batch_size, seed, window=run.window)
        return data_loader(mixture, sampler, collate, run.workers)
    packs = PackingSampler(mixture, MixtureSampler(mixture, stage.stage.data, seed), LengthCounter(collate),
                           batch_size=run.batch_size, pack=run.pack,
                  passes=run.max_epochs)
    if run.max_epochs is not None:
        with progress(f"{stage.name}: lengths") as report:
            packs.measure(report)
    return data_loader(PackedSamples(mixture), packs, PackedCollator(collate), run.workers)


def fit_vocoder(plan: Plan, stage: StagePlan, model: OmniModel, readers: dict[str, Reader], partial: Path,
                 seed: int) -> tuple[int, dict[str, float]]:
    run, branch = stage.stage.trainer, stage.trained[0].partition(".")[0]
    output = plan.outputs[branch]
    codec, units = cast(VocoderConfig, output.codec), cast(CodecConfig, output.units)  # the plan lets `vocoder` train such only
    with progress(f"{stage.name}: labels") as report:
        speech = label(readers, model.units(branch), codec, report, sample_rate=units.spec.sample_rate)
    segments = VocoderDataset(speech, stage.stage.data, run.batch_size, codec.segment, seed)
    losses = VocoderLosses(cast(Vocoder, model.codec(branch)), stage.stage.loss, codec, stage.stage.optim.lr)
    trainer = lightning(stage, partial, [Bar(stage.name)])
    module = Training(model, stage, partial / "metrics.csv", losses)
    _fit(trainer, module, DataLoader(segments, batch_size=None, pin_memory=torch.cuda.is_available()))
    return trainer.global_step, module.metrics.last


def fit_codec(plan: Plan, stage: StagePlan, model: OmniModel, readers: dict[str, Reader], partial: Path,
               seed: int) -> tuple[int, dict[str, float]]:
    run, part = stage.stage.trainer, stage.trained[0]
    config, learner = cast(VocoderConfig, plan.parts()[part]), cast(TrainableCodec, model.get_submodule(part))
    with progress(f"{stage.name}: speech") as report:
        waves = codec.speech(readers, config.spec.sample_rate, report)
    length = int(config.segment * config.spec.sample_rate / config.spec.rate)
    cuts = codec.CodecDataset(waves, stage.stage.data, run.batch_size, length, seed)
    batches = run.max_steps * run.accumulate if run.max_steps else (run.max_epochs or 1) * len(cuts)
    fresh = part not in stage.origins and codec_options(config).weights is None
    losses = codec.CodecLosses(learner, stage.stage.loss, config, lr=stage.stage.optim.lr,
                               uncoded=int(codec.UNCODED * batches) if fresh else 0, seed=seed)
    trainer = lightning(stage, partial, [Bar(stage.name)])
    module = Training(model, stage, partial / "metrics.csv", losses)
    _fit(trainer, module, DataLoader(cuts, batch_size=None, pin_memory=torch.cuda.is_available()))
    model.cpu().eval()
    with progress(f"{stage.name}: usage") as report:
        return trainer.global_step, module.metrics.last | codec.measured(learner, config, waves, report)


def lightning(stage: StagePlan, folder: Path, callbacks: list[L.Callback]) -> L.Trainer:
    """Give Lightning's trainer with nothing switched on that a stage does not ask for: no logger, no checkpoints."""
    # deterministic mode also writes NaN into every new tensor, which costs time and changes no result of ours
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # its stub lacks it
    run = stage.stage.trainer
    return L.Trainer(
        max_steps=run.max_steps or -1, max_epochs=run.max_epochs or -1, accumulate_grad_batches=run.accumulate,
        precision=run.precision, accelerator=run.accelerator, devices=run.devices, strategy=run.strategy,  # type: ignore[arg-type]  # words from YAML
        gradient_clip_val=stage.stage.optim.clip, deterministic="warn", callbacks=callbacks, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
        num_sanity_val_steps=0, default_root_dir=folder)


def _fit(trainer: L.Trainer, module: Training,
         batches: Loader | DataLoader[VocoderBatch] | DataLoader[codec.CodecBatch]) -> None:
    """Fit, and give interruptions and mistakes in the data back as they were raised."""
    interrupt = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(module, batches)
    except SystemExit as error:  # Lightning's answer to Ctrl-C: it ignores the signal from then on and leaves the program
        signal.signal(signal.SIGINT, interrupt)
        raise KeyboardInterrupt from error
    except OmnikitError as error:
        if "DataLoader worker" not in str(error):
            raise
        # a worker's exception comes with its trace as the text, and the sentence at its end
        raise type(error)(str(error).rpartition(f"{type(error).__name__}: ")[2].strip()) from error


def fit_units(plan: Plan, stage: StagePlan, model: OmniModel, readers: dict[str, Reader], partial: Path,
               seed: int) -> tuple[int, dict[str, float]]:
    codec = stage.trained[0]
    rate = cast(CodecConfig, plan.parts()[codec]).spec.sample_rate  # the plan lets `units` train codecs only
    waves = [torch.from_numpy(load_waveform(part, rate, sample.id)) for reader in readers.values()
             for sample in (reader[index] for index in range(len(reader))) for part in answer_audio(sample)]
    if not waves:
        raise DataError(f"Stage {stage.name} finds no spoken answer in {', '.join(readers)}, but fits units to them.")
    with progress(stage.name) as report:
        numbers = cast(FittedCodec, model.get_submodule(codec)).fit(waves, torch.Generator().manual_seed(seed), report)
    return 0, numbers


def collator(plan: Plan, stage: StagePlan, model: OmniModel) -> Collator:
    """Give the collator of a stage: its losses' targets, with codes from the model's own codec where it encodes."""
    outputs = {name: plan.outputs[name] for name in stage.stage.loss}
    return Collator(plan, list(outputs), {
        name: Codes(model.units(name), output.code_source.spec.sample_rate) for name, output in outputs.items()
        if output.code_source})
