"""Weights that a recipe must name: a preset named after a public checkpoint is not that checkpoint without them.

The naming rule: such a preset sets a component with a field `weights`, and its name does not end in `_random`. Random numbers
are asked for by `weights: random`, or by a component's own defaults, which no checkpoint has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omnikit import registry
from omnikit.errors import PlanError
from omnikit.plan.resolve import RANDOM
from omnikit.recipe.branches import Choice
from omnikit.recipe.recipe import SLOTS

if TYPE_CHECKING:
    from omnikit.plan.plan import Plan

FROM_SCRATCH = ("vocoder", "codec")  # objectives that train every weight of their part, as its authors did


def unnamed_weights(plan: Plan) -> dict[str, str]:
    """Give part → preset for each part whose preset stands for a public checkpoint that the recipe does not name.

    A part that a stage imports, or trains from scratch with the part's own objective, needs none.
    """
    objectives = ("import", *FROM_SCRATCH)
    made = {part for stage in plan.stages.values() if stage.stage.objective in objectives for part in stage.trained}
    found = {}
    for part, config in plan.parts().items():
        preset, choice = plan.recipe.picks.get(part), _choice(plan, part)
        if (preset and choice and part not in made and not preset.endswith("_random") and _is_preset(part, preset)
                and getattr(config, "weights", RANDOM) is None and choice.fields.get("weights") != RANDOM):
            found[part] = preset
    return found


def advice_on_weights(plan: Plan) -> str | None:
    """Give the sentence that states which weights are not named and what to add; None where nothing is missing."""
    found = unnamed_weights(plan)
    if not found:
        return None
    parts = ", ".join(f"{part} ({preset})" for part, preset in found.items())
    overrides = " ".join(f"{part}.weights=PATH" for part in found)
    return (f"{plan.recipe.name} names no weights for {parts}, so training would start from random numbers instead of the"
            f" published ones; add {overrides}, or {next(iter(found))}.weights={RANDOM} where random numbers are wanted.")


def require_weights(plan: Plan) -> None:
    """Raise PlanError where weights of a public checkpoint are not named."""
    if sentence := advice_on_weights(plan):
        raise PlanError(sentence)


def _choice(plan: Plan, part: str) -> Choice | None:
    branch, _, slot = part.partition(".")
    return plan.recipe.branches.get(branch, {}).get(slot) if slot else plan.recipe.backbone


def _is_preset(part: str, name: str) -> bool:
    kind = SLOTS[part.rpartition(".")[2]] if "." in part else "backbone"
    return registry.preset(kind, name) is not None
