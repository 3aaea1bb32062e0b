"""Branches whose codes the backbone reads step by step: what a recipe and a stage with one must be."""

from __future__ import annotations

from collections.abc import Mapping

from omnikit.contracts.configs import BackboneConfig
from omnikit.plan.branches import OutputBranch
from omnikit.recipe.recipe import Stage

BY_POSITIONS = ("pack", "batch_tokens")  # settings of a stage's trainer that count a row's positions before its codes are known


def check_feeding(outputs: Mapping[str, OutputBranch], backbone: BackboneConfig | None, errors: list[str]) -> None:
    """Append a sentence for what a branch that feeds, or several of them, cannot be."""
    found = [output for output in outputs.values() if output.feeds]
    for output in found:
        head = output.head
        if (head.target, head.tap, head.alignment) != ("codes", "hidden", "predicts"):
            errors.append(f"{output.name}.head has `steps`, so that the backbone reads its codes, but target {head.target!r},"
                          f" tap {head.tap!r} and alignment {head.alignment!r}; such a head must have 'codes', 'hidden' and"
                          " 'predicts'; fix it in the plugin.")
        if backbone and output.codes and (least := output.steps(1)) >= backbone.context:
            errors.append(f"{output.name}.head takes {least} steps of the backbone for one frame of codes, but backbone.context"
                          f" is {backbone.context}; lower its delay.")
    if len(found) > 1:
        names = " and ".join(output.name for output in found)
        errors.append(f"the backbone reads the codes of {names}, but it can read those of one branch; leave the others out, or"
                      f" give them a head such as {found[1].name}/head=parallel_codes.")


def check_feeding_stage(where: str, stage: Stage, outputs: Mapping[str, OutputBranch], errors: list[str]) -> None:
    """Append a sentence where a stage counts positions that codes take before they are known."""
    feeding = [name for name in stage.loss if name in outputs and outputs[name].feeds]
    errors += [f"{where}.trainer.{setting} is {value}, but the backbone reads the codes of {name}, so that a row's positions"
               f" are not known before they are; set {where}.trainer.{setting}=null." for name in feeding
               for setting in BY_POSITIONS if (value := getattr(stage.trainer, setting))]
