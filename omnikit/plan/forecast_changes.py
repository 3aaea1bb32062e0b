"""The cheapest changes of a stage that make it fit a memory, tried in the order of what they cost. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from omnikit.contracts.footprint import Footprint
from omnikit.plan.footprints import footprints
from omnikit.plan.forecast import Forecast, Setting, sharing, stage_forecast
from omnikit.plan.plan import Plan
from omnikit.plan.stage_plan import StagePlan
from omnikit.plan.tuning import Lora, Tuning

LEAST_TOKENS = 512  # positions of a batch that is not made smaller
Parts = Mapping[str, Footprint]


class Change(NamedTuple):
    """One change of a stage: what to write on the command line, and the stage with it."""

    overrides: tuple[str, ...]
    apply: Callable[[StagePlan], StagePlan]


@dataclass(frozen=True)
class Fit:
    """Whether a stage fits.

    Args:
        forecast: of the stage with the changes, or with every change where they do not suffice.
        changes: overrides that make it fit, the cheapest; none where it fits as it is.
        fits: whether it does, with the changes.
    """

    forecast: Forecast
    changes: tuple[str, ...]
    fits: bool


def fitting(plan: Plan, memory: float, setting: Setting) -> dict[str, Fit]:
    """Give stage → whether it fits a card's memory in bytes, and with what."""
    found = footprints(plan)
    return {name: _fit(plan, stage, memory, setting, found) for name, stage in plan.stages.items()
            if stage.stage.objective != "import"}


def _fit(plan: Plan, stage: StagePlan, memory: float, setting: Setting, parts: Parts) -> Fit:
    def needs(changes: Sequence[Change]) -> Forecast:
        changed = stage
        for change in changes:
            changed = change.apply(changed)
        return stage_forecast(plan, changed, setting, parts)

    chosen: list[Change] = []
    for candidates in _candidates(stage, parts, setting):
        for candidate in candidates:  # each goes further than the one before
            if needs(chosen).card <= memory:
                break
            chosen = [*(change for change in chosen if change not in candidates), candidate]
    if needs(chosen).card > memory:
        return Fit(needs(chosen), (), fits=False)
    for change in reversed(chosen):  # what another change made needless, the costly ones first
        fewer = [other for other in chosen if other is not change]
        chosen = fewer if needs(fewer).card <= memory else chosen
    return Fit(needs(chosen), tuple(override for change in chosen for override in change.overrides), fits=True)


def _candidates(stage: StagePlan, parts: Parts, setting: Setting) -> list[list[Change]]:
    """Give the kinds of changes in the order of their cost: time first, then precision, then what is trained at all."""
    where, trainer, optim = f"stages.{stage.name}", stage.stage.trainer, stage.stage.optim
    found: list[list[Change]] = []
    if stage.stage.objective == "heads" and trainer.activation_checkpointing is not True:
        found.append([Change((f"{where}.trainer.activation_checkpointing=true",), _trainer(activation_checkpointing=True))])
    if trainer.precision != "bf16-true" and stage.stage.objective == "heads":
        found.append([Change((f"{where}.trainer.precision=bf16-true",), _trainer(precision="bf16-true"))])
    if optim.name == "adamw":
        found.append([Change((f"{where}.optim.name=adamw_8bit",), _optim(name="adamw_8bit"))])
    found.append(_smaller_batches(stage))
    if sharing(stage, setting) == 1 and trainer.offload == "none" and optim.name != "adamw_8bit_paged":
        found.append([Change((f"{where}.trainer.offload=optimizer",), _trainer(offload="optimizer"))])
    found += [[_adapters(where, part)] for part in _adaptable(stage, parts)]
    found += [[_adapters(where, part, "8bit"), _adapters(where, part, "4bit")] for part in _adaptable(stage, parts)]
    return found


def _smaller_batches(stage: StagePlan) -> list[Change]:
    """Give batches of half the rows (or positions) and twice the accumulation, down to one row (or one packed sequence)."""
    trainer, where, found = stage.stage.trainer, f"stages.{stage.name}.trainer", []
    setting, least = ("batch_tokens", trainer.pack or LEAST_TOKENS) if trainer.batch_tokens else ("batch_size", 1)
    size, times = trainer.batch_tokens or trainer.batch_size, trainer.accumulate
    while size > least and size % 2 == 0:
        size, times = size // 2, times * 2
        found.append(Change((f"{where}.{setting}={size}", f"{where}.accumulate={times}"),
                            _trainer(**{setting: size, "accumulate": times})))
    return found


def _adaptable(stage: StagePlan, parts: Parts) -> list[str]:
    """Give encoders and backbones that are trained as a whole, the largest first; heads mostly begin with random weights."""
    whole = [part for part in stage.trained if part in parts and part not in stage.tuning and parts[part].matrices
             and (part == "backbone" or part.endswith(".encoder"))]
    return sorted(whole, key=lambda part: -parts[part].parameters) if stage.stage.objective == "heads" else []


def _adapters(where: str, part: str, load_in: Literal["8bit", "4bit"] | None = None) -> Change:
    value = f"{{lora:{{load_in:{load_in}}}}}" if load_in else "lora"
    tuning = Tuning(Lora(load_in=load_in))
    return Change((f"{where}.train.{part}={value}",), lambda stage: replace(stage, tuning={**stage.tuning, part: tuning}))


def _trainer(**values: object) -> Callable[[StagePlan], StagePlan]:
    return lambda stage: replace(stage, stage=replace(stage.stage, trainer=replace(stage.stage.trainer, **values)))  # type: ignore[arg-type]  # its fields


def _optim(**values: object) -> Callable[[StagePlan], StagePlan]:
    return lambda stage: replace(stage, stage=replace(stage.stage, optim=replace(stage.stage.optim, **values)))  # type: ignore[arg-type]  # its fields
