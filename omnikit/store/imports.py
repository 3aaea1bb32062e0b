"""The stage `objective: import`: tensors go from a published checkpoint to the stage's weights one by one.

The model is built on the meta device, for names and shapes; only a part of which the files lack something is built for real.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from omnikit.contracts.configs import ImporterConfig
from omnikit.contracts.types import LazyTensor
from omnikit.errors import PlanError, RunError
from omnikit.plan.import_stages import find_importer
from omnikit.plan.plan import Plan, StagePlan
from omnikit.progress import progress
from omnikit.store import safetensors_writer
from omnikit.store.hashes import distinct
from omnikit.store.import_report import PartReport, compare, incomplete_parts
from omnikit.store.lineage import lineage
from omnikit.store.load import blueprint, build_model, run_tensors
from omnikit.store.stage_record import read as read_record


def source_of(stage: StagePlan) -> ImporterConfig:
    """Give what reads a stage's source; raises PlanError if its settings are wrong."""
    errors: list[str] = []
    source = find_importer(stage.stage, f"stages.{stage.name}", errors)
    if source is None:
        raise PlanError(*errors)
    return source


def take(plan: Plan, stage: StagePlan, path: Path) -> tuple[list[PartReport], dict[str, str]]:
    """Write the weights of an import stage.

    Returns:
        the import report, and part → hash of its weights.

    Raises:
        RunError: a file is missing or unreadable; or a tensor is missing, left over or of another shape in a part that
            the stage does not allow that for, one sentence for each part.
    """
    found = source_of(stage).open()
    entries = compare({part: blueprint(plan, part) for part in stage.trained}, found)
    wrong = incomplete_parts(entries, found, stage.stage.allow)
    if wrong:
        raise RunError(*wrong)
    parts = {entry.part: _filled(plan, entry) for entry in entries if entry.part in stage.trained}
    with progress(stage.name) as report:
        return entries, safetensors_writer.write(path, parts, {"frozen": {}}, report)


def held(plan: Plan, folder: Path) -> dict[str, dict[str, LazyTensor]]:
    """Give part → name → tensor of a finished run; see omnikit.store.load.run_tensors.

    A part that was imported and not trained since has the dtypes that its files had.

    Raises:
        RunError: a stage is not finished, or a file is not what it was.
    """
    origins = lineage(plan, folder)
    return {part: _as_published(named, read_record(folder, origins[part]), part) if part in origins else named
            for part, named in run_tensors(plan, folder).items()}


def _as_published(named: dict[str, LazyTensor], record: Mapping[str, Any], part: str) -> dict[str, LazyTensor]:
    """Give a part's imported tensors in the dtype of the files, where that was one for all but whole numbers, which
    keep theirs; so do fresh ones."""
    formats, fresh = (record.get("import_report", {}).get(part, {}).get(key, []) for key in ("formats", "fresh"))
    formats = [word for word in formats if _is_floating(word)]
    if len(formats) != 1:
        return named
    return {name: tensor if name in fresh or not _is_floating(tensor.dtype) else
            LazyTensor(tensor.name, tensor.file, tensor.shape, formats[0], _cast(tensor, formats[0]))
            for name, tensor in named.items()}


def _is_floating(word: str) -> bool:
    kind: torch.dtype = getattr(torch, word)
    return kind.is_floating_point


def _filled(plan: Plan, entry: PartReport) -> dict[str, LazyTensor]:
    """Give every tensor of a part in the part's own dtype: from the files, else fresh."""
    fresh: Mapping[str, Tensor] = {}
    if entry.fresh:
        fresh = dict(distinct(build_model(plan, parts=[entry.part]).parts()[entry.part]))
    filled = {}
    for name, own in entry.wanted.items():
        read = _cast(entry.matched[name], own.dtype) if name in entry.matched else _given(fresh[name])
        filled[name] = LazyTensor(own.name, own.file, own.shape, own.dtype, read)
    return filled


def _cast(tensor: LazyTensor, dtype: str) -> Callable[[], Tensor]:
    kind: torch.dtype = getattr(torch, dtype)
    return lambda: tensor.read().to(kind)


def _given(tensor: Tensor) -> Callable[[], Tensor]:
    return lambda: tensor
