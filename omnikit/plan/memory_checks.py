"""What a stage may set to need less memory: which parts recompute their layers, and which are compiled."""

from __future__ import annotations

from collections.abc import Sequence

from omnikit.errors import nearest
from omnikit.plan.stage_plan import StagePlan


def check_memory_settings(where: str, plan: StagePlan, parts: Sequence[str], errors: list[str]) -> None:
    """Refuse activation checkpointing and compilation of what is no part, or where a codec is fitted."""
    trainer = plan.stage.trainer
    given = trainer.activation_checkpointing
    if not isinstance(given, bool | list | tuple) or not all(isinstance(name, str) for name in named(given)):
        errors.append(f"{where}.trainer.activation_checkpointing is {given!r}, but must be true, false or a list of parts, for"
                      " example [backbone].")
        return
    for key, names in (("activation_checkpointing", named(given)), ("compile", trainer.compile)):
        errors += [f"{where}.trainer.{key} names {name!r}, which is not a part of this model.{nearest(name, parts)} Parts:"
                   f" {', '.join(parts)}." for name in names if not _within(name, parts)]
        if plan.stage.objective != "heads" and (names or (given is True and key != "compile")):
            errors.append(f"{where}.trainer.{key} is set, but counts only in stages with objective heads; leave it out.")


def checkpointed_parts(plan: StagePlan) -> tuple[str, ...]:
    """Give the parts that a stage runs whose layers are computed again in the backward pass."""
    given = plan.stage.trainer.activation_checkpointing
    return plan.used if given is True else tuple(part for part in plan.used if any(_is_in(part, name) for name in named(given)))


def named(given: object) -> tuple[str, ...]:
    """Give the names of a list; none for true or false."""
    return tuple(given) if isinstance(given, list | tuple) else ()


def _within(name: str, parts: Sequence[str]) -> bool:
    return any(_is_in(part, name) for part in parts)


def _is_in(part: str, name: str) -> bool:
    return part == name or part.startswith(f"{name}.")
