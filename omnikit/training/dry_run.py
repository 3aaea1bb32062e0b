"""A stage tried before it is trained: every row of its datasets is made ready as training would, then one small batch runs."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from omnikit.contracts.protocols import Reader
from omnikit.data.batch.collate import Collator
from omnikit.data.batch.labels import check_supervised
from omnikit.errors import DataError
from omnikit.plan.plan import Plan, StagePlan
from omnikit.progress import progress
from omnikit.store.load import build_model
from omnikit.training.trainable.tuning import check_tuning

ROWS = 2  # of the batch


@dataclass(frozen=True)
class DryRun:
    """What trying one stage gave.

    Args:
        rows: dataset → rows that were read.
        losses: output branch → loss of one batch with untrained weights; empty where none was run.
        reason: why none was run; "" where one was.
    """

    stage: str
    rows: dict[str, int]
    losses: dict[str, float] = field(default_factory=dict)
    reason: str = ""


def dry_run(plan: Plan) -> list[DryRun]:
    """Read every row that the stages train on, and give the losses of one batch of each stage.

    Raises:
        DataError: rows that training would stop at, all of them, one sentence each.
        RunError: a stage's `train` names tensors or layers that a part does not have.
    """
    readers = {name: plan.readers[name].build() for name in plan.readers}
    errors: list[str] = []
    found: list[DryRun] = []
    for name, stage in plan.stages.items():
        check_tuning(plan, stage)
        collator = Collator(plan, _losses(plan, stage))
        rows = {dataset: _read(readers[dataset], collator, f"{name}: {dataset}", errors) for dataset in stage.datasets}
        if not errors and stage.stage.objective == "heads":
            check_supervised(name, plan, stage.stage.loss, {dataset: readers[dataset] for dataset in stage.datasets})
        if not errors:
            found.append(_try(plan, stage, collator, readers, rows))
    if errors:
        raise DataError(*dict.fromkeys(errors))
    return found


def _losses(plan: Plan, stage: StagePlan) -> Sequence[str]:
    """Give the heads' losses that can be made before anything is trained: codes need a codec that an earlier stage fits."""
    if stage.stage.objective != "heads":  # the losses of a vocoder are no branches
        return []
    return [branch for branch in stage.stage.loss if plan.outputs[branch].head.target != "codes"]


def _read(reader: Reader, collator: Collator, title: str, errors: list[str]) -> int:
    if not len(reader):
        errors.append(f"Dataset {title.partition(': ')[2]} has no rows; give it some.")
    with progress(title) as report:
        for index in range(len(reader)):
            try:
                collator([reader[index]])
            except DataError as error:
                errors.append(str(error))
            report((index + 1) / len(reader))
    return len(reader)


def _try(plan: Plan, stage: StagePlan, collator: Collator, readers: dict[str, Reader], rows: dict[str, int]) -> DryRun:
    if stage.stage.objective != "heads":
        return DryRun(stage.name, rows, reason=f"not run: objective {stage.stage.objective}")
    if not collator.branches:
        return DryRun(stage.name, rows, reason="needs codes, which an earlier stage makes")
    reader = readers[stage.datasets[0]]
    batch = collator([reader[index] for index in range(min(ROWS, len(reader)))])
    with torch.no_grad():
        losses = build_model(plan, parts=stage.used).losses(batch, collator.branches)
    return DryRun(stage.name, rows, {branch: loss.item() for branch, loss in losses.items()})
