"""Parts built and filled with the right weights: the only place that does.

What a run holds is read from the run alone: such a part is built without weights and without the checkpoint that it began with,
then filled, with the adapters added that stages trained on it. Every other part is built by its configuration, from its
checkpoint or from random numbers, and compared with the part that the run was trained beside.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from torch import nn

from omnikit.contracts.optional import weight_files
from omnikit.contracts.types import LazyTensor
from omnikit.errors import RunError
from omnikit.model import OmniModel
from omnikit.plan.plan import Plan
from omnikit.store import checkpoint
from omnikit.store.checkpoint import StageWeights
from omnikit.store.hashes import distinct, weights_hash
from omnikit.store.lineage import Source, files_of, lineage, sources
from omnikit.store.runs import WEIGHTS
from omnikit.store.tensors import in_memory

TABLE = "backbone.table"  # what a stage that used the embedding table alone calls it among its frozen parts


def build_model(plan: Plan, folder: Path | None = None, origins: Mapping[str, str] | None = None, *,
                parts: Collection[str] | None = None, table: bool = False, device: str | torch.device | None = None,
                dtype: str | torch.dtype | None = None) -> OmniModel:
    """Build parts of a plan, those in `origins` with the weights that these stages of a run hold.

    Args:
        folder: of the run.
        origins: part → stage; see lineage, StagePlan.origins. The others come from their checkpoints or from random numbers.
        parts: part names to build; None for all.
        table: builds of the backbone the embedding table alone.
        device: where the weights go; None for the CPU.
        dtype: of the backbone's weights; None leaves the recipe's.

    Raises:
        RunError: weights are missing or not those that were written, or a part is not the one that a stage was trained beside.
        ConfigError: a part's own checkpoint cannot be read.
    """
    place, kind = as_device(device), as_dtype(dtype)
    chosen = [part for part in plan.parts() if parts is None or part in parts]
    wanted = {part: name for part, name in (origins or {}).items() if part in chosen}
    found = sources(plan, folder, wanted, chosen)
    whole = {part: source.whole for part, source in found.items() if source.whole}
    _check_outside(plan, folder, [part for part in chosen if part not in whole])
    model = OmniModel(plan, parts, ("loaded" if "backbone" in whole else "fresh") if table else None,
                      {part: weights.settings.get(part, {}) for part, weights in whole.items()})
    for part, source in found.items():
        _fill(model, source, place, kind if part == "backbone" else None)
    if folder is not None:
        _check_beside(model, folder, files_of(found.values()), wanted)
    built = model.parts()
    if kind is not None and "backbone" in built:
        built["backbone"].to(kind)
    return model if place is None else model.to(place)


def _fill(model: OmniModel, source: Source, device: torch.device | None, dtype: torch.dtype | None) -> None:
    """Put the weights of a source, with their adapters, into a part of a model, and note the part's hash."""
    part, module = source.part, model.parts()[source.part]
    piece = bool(model.table) and part == "backbone"
    built, digest = built_tensors(module, source.path, hashed=not piece) if source.whole is None else ({}, None)
    names = checkpoint.fill(module, source.tensors(built, digest), source.path, part, complete=not piece, device=device,
                            dtype=dtype)
    if source.adapters:
        model.merged.add(part)
    model.hashes[part] = source.partial_hash(names) or weights_hash(module) if piece else source.hash


def built_tensors(module: nn.Module, path: Path, *, hashed: bool = True) -> tuple[dict[str, LazyTensor], str | None]:
    """Give name → tensor of a part that was built by its configuration, and their hash."""
    return ({name: in_memory(name, path, tensor) for name, tensor in distinct(module)},
            weights_hash(module) if hashed else None)


def empty_part(plan: Plan, part: str) -> nn.Module:
    """Build a part without weights: names, shapes and dtypes, on the meta device."""
    return OmniModel(plan, [part], empty={part: {}}).parts()[part]


def blueprint(plan: Plan, part: str) -> dict[str, LazyTensor]:
    """Give name → shape and dtype of a part's tensors, tied ones once; there is nothing to read."""
    return {name: in_memory(name, Path(part), tensor) for name, tensor in distinct(empty_part(plan, part))}


def run_tensors(plan: Plan, folder: Path, stage: str | None = None) -> dict[str, dict[str, LazyTensor]]:
    """Give part → name → tensor of a finished run, each compared with what was written when it is read.

    A part that the run does not hold has the weights that its configuration names.

    Raises:
        RunError: as lineage and build_model.
    """
    origins = lineage(plan, folder, stage)
    found = sources(plan, folder, origins, list(origins))
    outside = [part for part in plan.parts() if part not in origins or found[part].whole is None]
    model = build_model(plan, folder, parts=outside)
    _check_beside(model, folder, files_of(found.values()), origins)
    built = {part: built_tensors(module, folder) for part, module in model.parts().items()}
    merged = {part: source.tensors(*built.get(part, ({}, None))) for part, source in found.items()}
    return {part: merged[part] if part in merged else built[part][0] for part in plan.parts()}


def hashes(model: OmniModel) -> dict[str, str]:
    """Give part → hash of a model that was just built; what was read from a run is not hashed again."""
    for part, module in model.parts().items():
        if part not in model.hashes:
            model.hashes[part] = weights_hash(module)
    return {part: model.hashes[part] for part in model.parts()}


def as_device(device: str | torch.device | None) -> torch.device | None:
    """Read a device by name; raises RunError if this machine does not have it."""
    if device is None:
        return None
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise RunError(f"device is {device!r}, which torch does not know; give cpu, cuda or cuda:N.") from error
    there = torch.cuda.device_count() if found.type == "cuda" else 1
    if (found.index or 0) >= there or found.type == "meta":
        raise RunError(f"device is {str(found)!r}, but this machine has {there or 'no'} such device{'s' if there > 1 else ''};"
                       f" give cpu{' or cuda:' + str(there - 1) if there and found.type == 'cuda' else ''}.")
    return found


def inference_device(device: str | torch.device | None) -> torch.device:
    """Give a device by name, by default a GPU if there is one; raises RunError if this machine has none such."""
    return as_device(device) or torch.device("cuda" if torch.cuda.is_available() else "cpu")


def as_dtype(dtype: str | torch.dtype | None) -> torch.dtype | None:
    """Read a dtype by name; raises RunError if it is not one for weights."""
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if dtype is not None and found not in (torch.float32, torch.bfloat16, torch.float16):
        raise RunError(f"dtype is {dtype!r}, but must be float32, bfloat16 or float16.")
    return found


def _check_outside(plan: Plan, folder: Path | None, parts: Collection[str]) -> None:
    """Name the file that a part of a run needs and that is not there any more; what is not a path may lie in a cache."""
    for part in parts if folder else ():
        for file in weight_files(plan.parts()[part]):
            if Path(file).is_absolute() and not Path(file).exists():
                raise RunError(f"{folder} does not hold {part}, which no stage trained, and its weights {file} are not there;"
                               f" put them back or copy the run with omnikit bundle where they are.{_written(folder, part)}")


def _written(folder: Path | None, part: str) -> str:
    """Say which hash a part had that a run was trained beside, as the first weights file that names it has it."""
    files = sorted(Path(folder or "").glob(f"[!.]*/{WEIGHTS}*"))
    found = next((digest for file in files if file.name == WEIGHTS for digest in [checkpoint.hashes(file)[1].get(part)]
                  if digest), None)
    return f" They had hash {found}." if found else ""


def _check_beside(model: OmniModel, folder: Path, files: Mapping[str, StageWeights], origins: Mapping[str, str]) -> None:
    """Compare the parts that stages were trained beside with those of the stages that they came from, or with those built."""
    built = model.parts()
    for name, weights in files.items():
        before = model.plan.stages[name].origins if weights.frozen else {}
        for part, written in weights.frozen.items():
            source = "backbone" if part == TABLE and model.table else part
            if part in before:
                source_file = folder / before[part] / WEIGHTS
                if before[part] not in files and not checkpoint.exists(source_file):
                    continue  # nothing that is loaded needs it
                other = files.get(before[part]) or checkpoint.opened(source_file)
                found = other.trained.get(part)
            elif source in built and source not in origins and bool(model.table and source == "backbone") == (part == TABLE):
                found = model.hashes[source] = model.hashes.get(source) or weights_hash(built[source])
            else:
                continue
            if found != written:
                raise RunError(f"{weights.path} was trained beside {part} with weights of hash {written}, but here they have"
                               f" {found}; train the stages again in one run.")
