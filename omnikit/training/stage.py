"""Stages, one after another: build what a stage uses, hand weights over, freeze, fit, keep. Knows no component.

A stage's folder appears under its name only when all of it is written; `done` holds the hash of what decided its weights.
"""

import logging
import shutil
import time
import warnings
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytorch_lightning as L

from omnikit.data.batch.labels import check_supervised
from omnikit.errors import RunError
from omnikit.model import OmniModel
from omnikit.plan.plan import Plan, StagePlan
from omnikit.store import checkpoint, imports, manifest
from omnikit.store.files import disk_errors
from omnikit.store.hashes import weights_hash
from omnikit.store.import_report import as_record
from omnikit.store.load import build_model, hashes
from omnikit.store.runs import WEIGHTS, is_done, link_latest, run_folder, stage_hash
from omnikit.store.tokenizer_files import hold_tokenizer
from omnikit.training.fit import fit_codec, fit_heads, fit_units, fit_vocoder
from omnikit.training.freeze import check_unmoved, freeze, full_precision


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
                hold_tokenizer(plan.tokenizer, folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
    return rows


def assemble(plan: Plan, stage: StagePlan, folder: Path) -> OmniModel:
    """Build the parts that a stage uses, with the weights that earlier stages gave them, the untrained ones frozen."""
    model = build_model(plan, folder, stage.origins, parts=stage.used, table=stage.table)
    freeze(model, stage.trained)
    return model


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
    fit = {"heads": fit_heads, "units": fit_units, "vocoder": fit_vocoder, "codec": fit_codec}[stage.stage.objective]
    with full_precision(model, stage.trained):
        steps, numbers = fit(plan, stage, model, readers, partial, seed)
        model.cpu()
    frozen = {part: weights_hash(module) for part, module in model.parts().items() if part not in stage.trained}
    check_unmoved(before, frozen, stage.trained, stage.name)
    before, frozen = (manifest.recorded(stage, folder, found) for found in (before, frozen))
    after = frozen | checkpoint.save(partial / WEIGHTS, {p: m for p, m in model.parts().items() if p in stage.trained}, frozen)
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
