"""A stage's section `validate`, held against the recipe. Imports no torch."""

import math

from omnikit.errors import nearest
from omnikit.plan.branches import OutputBranch
from omnikit.plan.stage_plan import StagePlan
from omnikit.recipe.validation_settings import METRICS, TOTAL, Validate


def check_validation(where: str, plan: StagePlan, outputs: dict[str, OutputBranch], errors: list[str]) -> None:
    """Refuse what cannot be validated; each mistake becomes one sentence."""
    found = plan.stage.validate
    if found == Validate():
        return
    where = f"{where}.validate"
    if plan.stage.objective != "heads":
        errors.append(f"{where} is set, but the stage has objective {plan.stage.objective}, and validation measures the losses"
                      " of heads only; leave it out.")
    _check_numbers(where, found, errors)
    branches = list(plan.stage.loss)
    if found.keep_best is not None and found.keep_best not in (*branches, TOTAL):
        errors.append(f"{where}.keep_best is {found.keep_best!r}, which is not a loss of the stage."
                      f"{nearest(found.keep_best, (*branches, TOTAL))} Losses: {', '.join(branches)}, or {TOTAL} for their"
                      " weighted sum.")
    errors.extend(f"{where}.metrics has {name!r}, which is not a metric.{nearest(name, METRICS)} Metrics: {', '.join(METRICS)};"
                  " answers are generated and scored by omnikit eval." for name in found.metrics if name not in METRICS)
    if "accuracy" in found.metrics and not counted(plan, outputs):
        errors.append(f"{where}.metrics has accuracy, but none of the stage's losses ({', '.join(branches)}) is one of tokens"
                      " with logits of the backbone; leave it out.")


def counted(plan: StagePlan, outputs: dict[str, OutputBranch]) -> list[str]:
    """Give the losses of a stage that have an accuracy."""
    return [name for name in plan.stage.loss if name in outputs and outputs[name].head.tap == "logits"]


def _check_numbers(where: str, found: Validate, errors: list[str]) -> None:
    if not found.datasets:
        errors.append(f"{where}.data is empty; name a dataset of held-out rows, for example {{held_out: 1.0}}.")
    for name, weight in found.data.items():
        if not 0 <= weight < math.inf:
            errors.append(f"{where}.data.{name} is {weight:g}, but a weight must be above 0, or 0 to leave it out.")
    least = {"every": found.every, "rows": found.rows, "early_stop.patience": found.early_stop.patience}
    if not 0 <= found.early_stop.min_delta < math.inf:
        errors.append(f"{where}.early_stop.min_delta is {found.early_stop.min_delta:g}, but must be at least 0.")
    errors.extend(f"{where}.{key} is {value}, but must be at least 1." for key, value in least.items()
                  if value is not None and value < 1)
