"""Where a stage's frozen prefix ends: the points whose features are computed once and read again. Imports no torch.

A point is an encoder's or a projector's features (audio.encoder), or states of the backbone: those that predict a
conversation's supervised tokens (backbone.predicts), those at them (backbone.reads), or those at the end of each signal
(backbone.last.audio).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from omnikit.plan.branches import BACKBONE_TAPS, InputBranch, OutputBranch
from omnikit.plan.stage_plan import StagePlan, Wiring


def cache_points(stage: StagePlan, inputs: Mapping[str, InputBranch],
                 outputs: Mapping[str, OutputBranch]) -> dict[str, tuple[str, ...]]:
    """Give point → the frozen parts that it depends on, of the last frozen points before what the stage trains."""
    found: dict[str, tuple[str, ...]] = {}
    for name in stage.stage.loss:
        if name in outputs:
            found |= _points(outputs[name], stage.trained, inputs)
    if any(outputs[name].feeds for name in stage.stage.loss if name in outputs):  # its head stands before the backbone, too
        return {point: parts for point, parts in found.items() if not point.startswith("backbone.")}
    return found


def check_cache(where: str, stage: StagePlan, wired: Wiring, errors: list[str]) -> None:
    """Refuse a cache of features where no frozen part stands before what is trained."""
    if stage.stage.trainer.cache == "none":
        return
    if stage.stage.objective != "heads":
        errors.append(f"{where}.trainer.cache is {stage.stage.trainer.cache}, but a stage with objective"
                      f" {stage.stage.objective!r} runs no encoder and no backbone, whose features could be stored; leave cache"
                      " out.")
    elif stage.trained and not any(_reached(point, stage, wired) for point in cache_points(stage, wired.inputs, wired.outputs)):
        errors.append(f"{where}.trainer.cache is {stage.stage.trainer.cache}, but no frozen part that its data reaches stands"
                      f" before what the stage trains ({', '.join(stage.trained)}), so there are no features to store; leave"
                      " cache out, or freeze an encoder.")


def _reached(point: str, stage: StagePlan, wired: Wiring) -> bool:
    """Say whether some dataset of a stage holds what the features of a point are computed from."""
    branch = point.partition(".")[0]
    held = {kind for name in stage.datasets for kind in wired.readers[name].provides}
    return branch == "backbone" or bool(held & set(wired.inputs[branch].media))


def _points(output: OutputBranch, trained: Collection[str], inputs: Mapping[str, InputBranch]) -> dict[str, tuple[str, ...]]:
    tap = output.head.tap
    if tap not in BACKBONE_TAPS:
        branch, _, slot = tap.partition(".")
        return dict(_deepest(inputs[branch], slot, trained))
    if not output.needs_hidden:
        return {}
    read = [branch for branch in inputs.values() if branch.projector]
    before = tuple(dict.fromkeys(part for branch in read for part in (*_encoders(branch), f"{branch.name}.projector")))
    if _frozen((*before, "backbone"), trained):
        point = f"last.{output.state_input}" if output.head.target == "state" else output.trained_on
        return {f"backbone.{point}": (*before, "backbone")}
    return {point: parts for branch in read for point, parts in _deepest(branch, "projector", trained)}


def _deepest(branch: InputBranch, slot: str, trained: Collection[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Give the last frozen point of an input branch up to a slot, if its encoder is frozen."""
    projector, encoders = f"{branch.name}.projector", _encoders(branch)
    if branch.encoder.input.modality == "prompt":  # it has no signal to encode
        return
    if slot == "projector" and _frozen((*encoders, projector), trained) and branch.instruction_tokenizer is None:
        yield projector, (*encoders, projector)
        return
    for encoder in encoders if slot == "projector" else encoders[:1]:
        if _frozen((encoder,), trained):
            yield encoder, (encoder,)


def _encoders(branch: InputBranch) -> tuple[str, ...]:
    """Give the encoders whose features a branch's projector takes, its own first."""
    return tuple(f"{each.name}.encoder" for each in (branch, *branch.sources))


def _frozen(parts: Collection[str], trained: Collection[str]) -> bool:
    return not any(one == part or one.startswith(f"{part}.") for part in parts for one in trained)
