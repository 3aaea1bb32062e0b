"""Stages, one after another: build what a stage uses, hand weights over, freeze, fit, save. Uses no component directly.

A stage's folder appears under its name only when all of it is written; `done` holds the hash of what decided its weights.
"""

import logging
import time
import warnings
from collections.abc import Collection
from pathlib import Path
from tempfile import TemporaryDirectory

import pytorch_lightning as L
import torch

from omnikit.contracts.configs import ReaderConfig
from omnikit.data.batch.labels import check_supervised
from omnikit.data.batch.tolerant import open_reader
from omnikit.data.build.background import recording
from omnikit.errors import RunError
from omnikit.model import OmniModel
from omnikit.plan.devices import check_devices
from omnikit.plan.plan import Plan, StagePlan
from omnikit.store import checkpoint, imports, manifest, training_checkpoint
from omnikit.store.facts import stage_facts
from omnikit.store.files import disk_errors
from omnikit.store.import_report import as_record
from omnikit.store.load import build_model, hashes
from omnikit.store.locks import hold
from omnikit.store.runs import WEIGHTS, link_latest, run_folder
from omnikit.store.training_checkpoint import TrainingCheckpoint
from omnikit.training.checkpointing.checkpoints import Resumption
from omnikit.training.checkpointing.resume import check_inputs
from omnikit.training.checkpointing.stop_signals import StopSignals
from omnikit.training.distributed import ALONE, World, join
from omnikit.training.fit import StageFit, fit_codec, fit_heads, fit_units, fit_vocoder
from omnikit.training.jobs.schedule import check_jobs, train_side_by_side
from omnikit.training.memory import saving_memory
from omnikit.training.monitoring.estimate import estimate
from omnikit.training.monitoring.run_page import write_page
from omnikit.training.monitoring.trackers import check_trackers
from omnikit.training.optimizers import check_installed
from omnikit.training.preflight import preflight
from omnikit.training.run_state import RunState
from omnikit.training.stage_task import StageResult, StageTask, completing, hold_run_tokenizer
from omnikit.training.trainable.freeze import freeze
from omnikit.training.trainable.tuning import check_tuning, tuned


def train(plan: Plan, config_yaml: str, *, retrain: Collection[str] = (), restart: bool = False,
          wait: bool = False, jobs: int = 1) -> tuple[Path, list[StageResult]]:
    """Run every stage that is not done, in the recipe's run folder, and link it as the latest.

    Returns:
        the run's folder and one line for each stage.
    """
    folder = run_folder(plan.recipe)
    rows = run_stages(plan, folder, config_yaml, retrain=retrain, restart=restart, wait=wait, jobs=jobs)
    if not join().is_first:
        return folder, rows
    if plan.recipe.run is None and plan.recipe.stage is None:  # a stage alone is a try, and no run to talk to
        link_latest(folder)
    return folder, rows


def run_stages(plan: Plan, folder: Path, config_yaml: str, *, retrain: Collection[str] = (), restart: bool = False,
               wait: bool = False, jobs: int = 1) -> list[StageResult]:
    """Run the stages of a plan in a folder, which no other process trains in meanwhile; finished ones are skipped.

    Args:
        retrain: finished stages that are trained again, `all` for each; what starts from them is where they change.
        restart: begin unfinished stages from scratch; otherwise they go on from their newest checkpoint.
        wait: wait for another process that trains in this folder, instead of an error.
        jobs: stages that are trained side by side at most, where they do not start from each other's weights.

    Raises:
        OmnikitError: data, weights or the disk are not usable (the stage's folder is then as it was), another process trains
            here, a finished stage is otherwise than the plan and `retrain` does not name it, or an unfinished one stopped with
            other settings and `restart` is not set.
        KeyboardInterrupt, SystemExit: a signal stopped it (see checkpointing.stop_signals); the same call goes on from there.
    """
    quiet_lightning()
    world, signals = join(), StopSignals()
    if not world.is_first:
        with signals.handled():
            return [_follow(plan, stage, folder, signals, world) for stage in plan.stages.values()]
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        with hold(folder / ".lock", f"{folder} is being trained", "wait for it with --wait, or choose another folder with"
                  " run=PATH", wait=wait):
            state = RunState(plan, folder, config_yaml, retrain, restart=restart)
            state.check()
            to_train = [name for name in plan.stages if name not in state.finished]
            _check(plan, to_train, jobs, world)
            state.begin()
            state.estimate = estimate(plan, folder, to_train, jobs)
            state.estimate.announce(plan.recipe.name)
            with signals.handled(), recording(_later_readers(plan, state.finished)):
                rows = (train_side_by_side(state, signals, jobs) if jobs > 1 else
                        [_run_if_needed(state, stage, signals, world) for stage in plan.stages.values()])
            if not (folder / "tokenizer").exists():  # a kill came before it
                hold_run_tokenizer(plan, folder)
            state.end()
            write_page(plan, folder)  # a kill may have come before it
            return rows
    finally:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _check(plan: Plan, to_train: Collection[str], jobs: int, world: World) -> None:
    """Refuse at once what cannot be trained here."""
    stages = [plan.stages[name] for name in to_train]
    check_jobs(plan, to_train, jobs, world)
    check_devices(stages, gpu=torch.cuda.is_available() or torch.backends.mps.is_available())
    check_processes(plan, to_train, world)
    check_installed(stages)
    for stage in stages:
        check_tuning(plan, stage)
    check_trackers(stages)
    preflight(plan, to_train)


def _later_readers(plan: Plan, finished: Collection[str]) -> list[ReaderConfig]:
    """Give the datasets of all stages to come but the first, and of the evaluation, in the order in which they are needed."""
    stages = [name for name in plan.stages if name not in finished]
    first = set(plan.stages[stages[0]].datasets) if stages else set()
    names = [name for stage in stages[1:] for name in plan.stages[stage].datasets]
    names += [name for name in plan.recipe.evaluate.data.values() if stages and name in plan.readers]
    return [plan.readers[name] for name in dict.fromkeys(names) if name not in first]


def check_processes(plan: Plan, names: Collection[str], world: World) -> None:
    """Raise RunError if stages shall be trained by more processes than there are, or by fewer."""
    for name in names:
        wanted = plan.stages[name].stage.trainer.processes
        if wanted > 1 and wanted != world.size:
            there = f"{world.size} processes were started" if world.size > 1 else "this is one process"
            raise RunError(f"stages.{name}.trainer has devices × nodes = {wanted}, but {there}; start it with omnikit train on"
                           " one machine, or on several with torchrun or srun, one process for each device.")


def _run_if_needed(state: RunState, stage: StagePlan, signals: StopSignals, world: World) -> StageResult:
    if not state.is_to_train(stage.name):
        world.agree(None)
        return StageResult(stage.name, stage.trained, 0, 0.0, skipped=True)
    together = stage.stage.trainer.processes > 1
    with completing(state, stage) as task:
        if not together:
            world.agree(None)
        result = train_stage(task, signals, world if together else ALONE)
    state.estimate.finish(stage.name, result.seconds)
    return result


def _follow(plan: Plan, stage: StagePlan, folder: Path, signals: StopSignals, world: World) -> StageResult:
    """Train a stage together with the first rank, which alone decides whether it is trained, and writes."""
    found: tuple[TrainingCheckpoint | None, bool] | None = world.agree(None)
    if found is None:  # finished, or trained by the first rank alone
        return StageResult(stage.name, stage.trained, 0, 0.0, skipped=True)
    (start, is_over), begun, seed = found, time.monotonic(), _seed(plan, stage)
    L.seed_everything(seed, verbose=False)
    readers = {name: open_reader(plan, name) for name in stage.datasets}
    held_out = {name: open_reader(plan, name) for name in stage.held_out}
    model = assemble(plan, stage, folder)
    resumption = Resumption(start, {}, signals, begun, is_over, world)
    with tuned(model, stage, {}, prove=False), saving_memory(model, stage), TemporaryDirectory() as own:
        torch.manual_seed(seed + world.rank)
        fit = StageFit(plan, stage, model, readers, Path(own), seed, resumption, held_out)
        steps, numbers = FITS[stage.stage.objective](fit)
    return StageResult(stage.name, stage.trained, steps, time.monotonic() - begun, numbers)


def assemble(plan: Plan, stage: StagePlan, folder: Path) -> OmniModel:
    """Build the parts that a stage uses, with the weights that earlier stages gave them, the untrained ones frozen."""
    model = build_model(plan, folder, stage.origins, parts=stage.used, table=stage.table)
    freeze(model, stage.trained)
    return model


FITS = {"heads": fit_heads, "units": fit_units, "vocoder": fit_vocoder, "codec": fit_codec}


def _seed(plan: Plan, stage: StagePlan) -> int:
    return plan.recipe.seed + list(plan.stages).index(stage.name)


def train_stage(task: StageTask, signals: StopSignals, world: World) -> StageResult:
    """Train a stage in its folder, which is complete then."""
    plan, stage, folder, partial, start = task.plan, task.stage, task.folder, task.partial, task.start
    if stage.stage.objective == "import":
        return _import(plan, stage, partial, task.files)
    begun = time.monotonic() - (start.record["seconds"] if start else 0.0)
    seed = _seed(plan, stage)
    L.seed_everything(seed, verbose=False)
    readers = {name: open_reader(plan, name) for name in stage.datasets}
    held_out = {name: open_reader(plan, name) for name in stage.held_out}
    if stage.stage.objective == "heads":
        check_supervised(stage.name, plan, stage.stage.loss, readers)
    model = assemble(plan, stage, folder)
    before = hashes(model)
    data = {name: manifest.data_fingerprint(reader) for name, reader in readers.items()}
    deciding = held_out if stage.is_decided_by_rows else {}
    compared = {name: manifest.data_fingerprint(reader) for name, reader in deciding.items()}
    inputs = {"data": {**compared, **data}, "files": task.files, "weights": before}
    if start:
        check_inputs(folder, stage.name, start, inputs)
    is_over = start is not None and start.stage_folder == partial and bool(start.record.get("over"))
    world.agree((start, is_over))
    record = {"facts": stage_facts(plan, stage.name), "inputs": inputs}
    resumption = Resumption(start, record, signals, begun, is_over, world)
    with tuned(model, stage, before) as changed, saving_memory(model, stage):
        steps, numbers = FITS[stage.stage.objective](StageFit(plan, stage, model, readers, partial, seed, resumption, held_out,
                                                               task.estimate))
        model.cpu()
    frozen = {part: digest for part, digest in before.items() if part not in stage.trained}
    before, frozen = (manifest.recorded(stage, folder, found) for found in (before, frozen))
    row = StageResult(stage.name, stage.trained, steps, time.monotonic() - begun, numbers)
    # the weights come last: with them the stage is complete, whatever ends the process from then on
    manifest.write(partial / manifest.NAME, plan, stage.name, {
        "stage_seed": seed, "origins": stage.origins, "steps": steps, "seconds": round(row.seconds, 1), "files": task.files,
        "weights_before": before, "weights_after": frozen, "numbers": numbers, "data": data})
    checkpoint.save(partial / WEIGHTS, {p: m for p, m in model.parts().items() if p in stage.trained}, frozen,
                    changed.adapters)
    training_checkpoint.finish(partial, stage.stage.trainer.keep or bool(stage.is_decided_by_rows))
    return row


def _import(plan: Plan, stage: StagePlan, partial: Path, files: dict[str, str]) -> StageResult:
    start = time.monotonic()
    entries, after = imports.take(plan, stage, partial / WEIGHTS)
    matched, fresh, unexpected, _ = map(sum, zip(*(entry.numbers for entry in entries), strict=True))
    row = StageResult(stage.name, stage.trained, 0, time.monotonic() - start,
                      {"from files": matched, "fresh": fresh, "left over": unexpected})
    manifest.write(partial / manifest.NAME, plan, stage.name, {
        "origins": {}, "seconds": round(row.seconds, 1), "weights_before": {}, "weights_after": after,
        "import_report": as_record(entries), "files": files, "data": {}})
    return row


def quiet_lightning() -> None:
    """Keep Lightning's advice out of the way; what matters to us raises."""
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning.fabric", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(pytorch_)?lightning.*")
