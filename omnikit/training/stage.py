"""Stages, one after another: build what a stage uses, hand weights over, freeze, fit, keep. Knows no component.

A stage's folder appears under its name only when all of it is written; `done` holds the hash of what decided its weights.
"""

import logging
import shutil
import signal
import time
import warnings
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import cast

import pytorch_lightning as L
import torch
import torch.utils.deterministic
from torch.utils.data import DataLoader

from omnikit.contracts.configs import CodecConfig, VocoderConfig
from omnikit.contracts.protocols import FittedCodec, Reader, TrainableCodec, Vocoder
from omnikit.contracts.types import Sample
from omnikit.data.batch.codes import Codes
from omnikit.data.batch.collate import Collator
from omnikit.data.batch.labels import check_supervised
from omnikit.data.batch.lengths import Lengths
from omnikit.data.batch.packing import PackedCollator, PackedSamples, PackingSampler
from omnikit.data.batch.samplers import LengthBucketSampler, MixtureDataset, MixtureSampler, loader
from omnikit.data.batch.signals import spoken, waveform
from omnikit.errors import DataError, OmnikitError, RunError
from omnikit.model import OmniModel
from omnikit.plan.plan import Plan, StagePlan
from omnikit.progress import progress
from omnikit.store import checkpoint, imports, manifest
from omnikit.store.files import disk_errors
from omnikit.store.hashes import hashes, weights_hash
from omnikit.store.import_report import as_record
from omnikit.store.runs import WEIGHTS, is_done, link_latest, run_folder, stage_hash
from omnikit.training import codec
from omnikit.training.freeze import check_unmoved, freeze, full_precision
from omnikit.training.module import Training
from omnikit.training.progress import Bar
from omnikit.training.vocoder import VocoderBatch, VocoderDataset, VocoderLosses, label

Loader = DataLoader[Sample] | DataLoader[list[Sample]]  # by what a dataset gives; what comes out are batches


@dataclass(frozen=True)
class StageResult:
    """One line of the table of stages; `numbers` are the last losses, or what a fit reports."""

    stage: str
    trained: tuple[str, ...]
    steps: int
    seconds: float
    numbers: dict[str, float] = field(default_factory=dict)
    skipped: bool = False


def train(plan: Plan, config_yaml: str) -> tuple[Path, list[StageResult]]:
    """Run every stage that is not done, in the recipe's run folder, and link it as the latest.

    Returns:
        the run's folder and one row for each stage.
    """
    folder = run_folder(plan.recipe)
    rows = run_stages(plan, folder, config_yaml)
    with disk_errors(folder):
        partial = folder / ".config.yaml.partial"
        partial.write_text(config_yaml)
        partial.replace(folder / "config.yaml")
    if plan.recipe.run is None and plan.recipe.stage is None:  # a stage alone is a try, and no run to talk to
        with disk_errors(folder):
            link_latest(folder)
    return folder, rows


def run_stages(plan: Plan, folder: Path, config_yaml: str) -> list[StageResult]:
    """Run the stages of a plan in a folder; a stage that is done, with unchanged settings, data and parents, is skipped.

    Raises:
        OmnikitError: data, weights or the disk are not usable; the stage's folder is then not there.
    """
    rows = []
    data_now = cache(lambda name: manifest.fingerprint_now(plan.readers[name]))
    for name, stage in plan.stages.items():
        _check_ours(folder / name)
        stale = is_done(folder, plan, name) and (
            manifest.is_stale(folder, plan, stage, data_now) or imports.is_stale(folder, stage))
        if is_done(folder, plan, name) and not stale:
            rows.append(StageResult(name, stage.trained, 0, 0.0, skipped=True))
            continue
        partial = folder / f".{name}.partial"
        try:
            with disk_errors(folder / name):
                shutil.rmtree(partial, ignore_errors=True)
                partial.mkdir(parents=True)
                (partial / "config.yaml").write_text(config_yaml)
            rows.append(_run(plan, stage, folder, partial))
            with disk_errors(folder / name):
                (partial / "done").write_text(stage_hash(plan, name) + "\n")
                _replace(partial, folder / name)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
    return rows


def assemble(plan: Plan, stage: StagePlan, folder: Path) -> OmniModel:
    """Build the parts that a stage uses, with the weights that earlier stages gave them, the untrained ones frozen."""
    model = OmniModel(plan, stage.used, ("loaded" if "backbone" in stage.origins else "fresh") if stage.table else None)
    load_parts(model, stage.origins, folder)
    freeze(model, stage.trained)
    return model


def load_parts(model: OmniModel, origins: dict[str, str], folder: Path) -> None:
    """Load each part from the stage that trained it, and check that the parts around it are those it was trained with."""
    parts, by_stage = model.parts(), defaultdict(list)
    for part, name in origins.items():
        if part in parts:
            by_stage[name].append(part)
    for name, names in by_stage.items():
        table = {"backbone"} if model.table else frozenset()
        checkpoint.load(folder / name / WEIGHTS, {part: parts[part] for part in names}, partly=table)
    fresh = {part: weights_hash(module) for part, module in parts.items()
             if part not in origins and not (model.table and part == "backbone")} if by_stage else {}
    for name in by_stage:  # where that stage had a part from a third one, this one leaves that out on purpose
        checkpoint.check_frozen(folder / name / WEIGHTS, fresh, set(fresh) - set(model.plan.stages[name].origins))


def _run(plan: Plan, stage: StagePlan, folder: Path, partial: Path) -> StageResult:
    if stage.stage.objective == "import":
        return _import(plan, stage, partial)
    start = time.monotonic()
    seed = plan.recipe.seed + list(plan.stages).index(stage.name)
    _prepare()
    L.seed_everything(seed, verbose=False)
    readers = {name: plan.readers[name].build() for name in stage.datasets}
    if stage.stage.objective == "heads":
        check_supervised(stage.name, plan, stage.stage.loss, readers)
    model = assemble(plan, stage, folder)
    before = hashes(model)
    fit = {"heads": _fit_heads, "units": _fit_units, "vocoder": _fit_vocoder, "codec": _fit_codec}[stage.stage.objective]
    with full_precision(model, stage.trained):
        steps, numbers = fit(plan, stage, model, readers, partial, seed)
        model.cpu()
    after = hashes(model)
    check_unmoved(before, after, stage.trained, stage.name)
    before, after = (manifest.recorded(stage, folder, found) for found in (before, after))
    frozen = {part: digest for part, digest in after.items() if part not in stage.trained}
    checkpoint.save(partial / WEIGHTS, {p: m for p, m in model.parts().items() if p in stage.trained}, frozen)
    row = StageResult(stage.name, stage.trained, steps, time.monotonic() - start, numbers)
    manifest.write(partial / "manifest.json", plan, {
        "stage": stage.name, "stage_seed": seed, "origins": stage.origins, "steps": steps, "seconds": round(row.seconds, 1),
        "part_files": manifest.part_files(plan, stage), "weights_before": before, "weights_after": after, "numbers": numbers,
        "data": {name: manifest.data_fingerprint(reader) for name, reader in readers.items()}})
    return row


def _import(plan: Plan, stage: StagePlan, partial: Path) -> StageResult:
    start = time.monotonic()
    entries, after = imports.take(plan, stage, partial / WEIGHTS)
    taken, fresh, unexpected, _ = map(sum, zip(*(entry.numbers for entry in entries), strict=True))
    row = StageResult(stage.name, stage.trained, 0, time.monotonic() - start,
                      {"from files": taken, "fresh": fresh, "left over": unexpected})
    manifest.write(partial / "manifest.json", plan, {
        "stage": stage.name, "origins": {}, "seconds": round(row.seconds, 1), "weights_before": {}, "weights_after": after,
        "ledger": as_record(entries), "files": imports.facts(imports.source_of(stage)), "data": {}})
    return row


def _fit_heads(plan: Plan, stage: StagePlan, model: OmniModel, readers: dict[str, Reader], partial: Path,
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
        return loader(mixture, sampler, collate, run.workers)
    packs = PackingSampler(mixture, MixtureSampler(mixture, stage.stage.data, seed), Lengths(collate),
                           batch_size=run.batch_size, pack=run.pack,
                  passes=run.max_epochs)
    if run.max_epochs is not None:
        with progress(f"{stage.name}: lengths") as report:
            packs.measure(report)
    return loader(PackedSamples(mixture), packs, PackedCollator(collate), run.workers)


def _fit_vocoder(plan: Plan, stage: StagePlan, model: OmniModel, readers: dict[str, Reader], partial: Path,
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


def _fit_codec(plan: Plan, stage: StagePlan, model: OmniModel, readers: dict[str, Reader], partial: Path,
               seed: int) -> tuple[int, dict[str, float]]:
    run, part = stage.stage.trainer, stage.trained[0]
    config, learner = cast(VocoderConfig, plan.parts()[part]), cast(TrainableCodec, model.get_submodule(part))
    with progress(f"{stage.name}: speech") as report:
        waves = codec.speech(readers, config.spec.sample_rate, report)
    length = int(config.segment * config.spec.sample_rate / config.spec.rate)
    cuts = codec.CodecDataset(waves, stage.stage.data, run.batch_size, length, seed)
    batches = run.max_steps * run.accumulate if run.max_steps else (run.max_epochs or 1) * len(cuts)
    fresh = part not in stage.origins and getattr(config, "weights", None) is None
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


def _fit_units(plan: Plan, stage: StagePlan, model: OmniModel, readers: dict[str, Reader], partial: Path,
               seed: int) -> tuple[int, dict[str, float]]:
    codec = stage.trained[0]
    rate = cast(CodecConfig, plan.parts()[codec]).spec.sample_rate  # the plan lets `units` train codecs only
    waves = [torch.from_numpy(waveform(part, rate, sample.id)) for reader in readers.values()
             for sample in (reader[index] for index in range(len(reader))) for part in spoken(sample)]
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


def _replace(partial: Path, final: Path) -> None:
    """Move a finished folder to its name; an older one there was trained otherwise and goes."""
    _check_ours(final)
    if final.exists():
        shutil.rmtree(final)
    partial.rename(final)


def _check_ours(final: Path) -> None:
    """Raise RunError if what has a stage's name is not a stage that we finished: it shall not be deleted."""
    if final.exists() and not (final / "done").is_file():
        raise RunError(f"{final} is there but is no finished stage; choose another folder with run=PATH.")


def _prepare() -> None:
    """Keep Lightning's advice out of the way; what matters to us raises."""
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning.fabric", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(pytorch_)?lightning.*")
