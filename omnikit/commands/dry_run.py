"""`omnikit check --deep`: every row of every dataset is made ready as training would, then each stage runs one small batch."""

from collections.abc import Sequence

import torch

from omnikit.commands.table import columns
from omnikit.contracts.protocols import Reader
from omnikit.data.batch.collate import Collator
from omnikit.data.batch.labels import check_supervised
from omnikit.errors import DataError
from omnikit.model import OmniModel
from omnikit.plan.plan import Plan, StagePlan
from omnikit.progress import progress

ROWS = 2  # of the dummy batch


def look(plan: Plan) -> str:
    """Read and run; gives a table of what was seen.

    Raises:
        DataError: rows that training would stop at, all of them, one sentence each.
    """
    readers = {name: plan.readers[name].build() for name in plan.readers}
    mistakes: list[str] = []
    lines = [("stage", "rows read", "losses of one batch, untrained")]
    for name, stage in plan.stages.items():
        collator = Collator(plan, _losses(plan, stage))
        rows = {dataset: _read(readers[dataset], collator, f"{name}: {dataset}", mistakes) for dataset in stage.datasets}
        if not mistakes and stage.stage.objective == "heads":
            check_supervised(name, plan, stage.stage.loss, {dataset: readers[dataset] for dataset in stage.datasets})
        if not mistakes:
            lines.append((name, ", ".join(f"{n} of {d}" for d, n in rows.items()), _run(plan, stage, collator, readers)))
    if mistakes:
        raise DataError(*dict.fromkeys(mistakes))
    return columns(lines)


def _losses(plan: Plan, stage: StagePlan) -> Sequence[str]:
    """Give the heads' losses that can be made before anything is trained: codes need a codec that an earlier stage fits."""
    if stage.stage.objective != "heads":  # the losses of a vocoder are no branches
        return []
    return [branch for branch in stage.stage.loss if plan.outputs[branch].head.target != "codes"]


def _read(reader: Reader, collator: Collator, title: str, mistakes: list[str]) -> int:
    if not len(reader):
        mistakes.append(f"Dataset {title.partition(': ')[2]} has no rows; give it some.")
    with progress(title) as report:
        for index in range(len(reader)):
            try:
                collator([reader[index]])
            except DataError as error:
                mistakes.append(str(error))
            report((index + 1) / len(reader))
    return len(reader)


def _run(plan: Plan, stage: StagePlan, collator: Collator, readers: dict[str, Reader]) -> str:
    if stage.stage.objective != "heads":
        return f"(not run: objective {stage.stage.objective})"
    if not collator.wanted:
        return "(needs codes, which an earlier stage makes)"
    reader = readers[stage.datasets[0]]
    batch = collator([reader[index] for index in range(min(ROWS, len(reader)))])
    with torch.no_grad():
        losses = OmniModel(plan, stage.used).losses(batch, collator.wanted)
    return ", ".join(f"{branch} {loss.item():.3g}" for branch, loss in losses.items())
