"""What the losses of a stage need of its datasets, held against what those hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from omnikit.contracts.configs import ReaderConfig
from omnikit.plan.branches import OutputBranch
from omnikit.plan.codec_stages import check_fitted

if TYPE_CHECKING:
    from omnikit.plan.stage_plan import StagePlan


def check_supplies(where: str, plan: StagePlan, output: OutputBranch, readers: Mapping[str, ReaderConfig],
                   errors: list[str]) -> None:
    """Hold what a head's loss needs against what the stage's datasets hold; each mismatch becomes one sentence."""
    need = [{"tokens": "answer", "transcript": "transcript", "caption": "caption", "codes": "codes", "state": "audio"}
            [output.head.target]]
    if output.code_source:
        need.append("speech")
    datasets = list(plan.datasets)
    if output.head.target in ("transcript", "state"):  # rows without audio have none, and the loss skips them
        datasets = [name for name in datasets if "audio" in readers[name].provides] or datasets
    if output.head.target == "caption":
        datasets = [name for name in datasets if "image" in readers[name].provides] or datasets
    for name in [name for name in datasets if output.reads_text and "answer" not in readers[name].provides]:
        errors.append(f"{where}.loss.{output.name} needs rows with answer, the words that are spoken, but dataset {name} gives"
                      f" {', '.join(readers[name].provides)}; take another dataset or drop that loss.")
    for name in [name for name in datasets if not set(need) & set(readers[name].provides)]:
        errors.append(f"{where}.loss.{output.name} needs rows with {' or '.join(need)}, but dataset {name} gives"
                      f" {', '.join(readers[name].provides)}; take another dataset or drop that loss.")
    check_fitted(where, plan, output, errors)
