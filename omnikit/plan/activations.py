"""What a stage keeps for its backward pass, part by part, and the logits. By formula; imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from omnikit.contracts.footprint import Footprint
from omnikit.plan.batch_sizes import SPOKEN, BatchSizes, answer_frames
from omnikit.plan.memory_checks import checkpointed_parts
from omnikit.plan.plan import Plan
from omnikit.plan.stage_plan import StagePlan

LOGIT = 16  # bytes that a logit takes at most: itself, in float32, log-softmax and both gradients
MOST_LOGITS = 2**26  # at once; omnikit.ops.cross_entropy


@dataclass(frozen=True)
class Activations:
    """Bytes that are held for the backward pass, that a layer adds while it is computed, and of logits."""

    layers: float
    transient: float
    logits: float


def activations(plan: Plan, stage: StagePlan, sizes: BatchSizes, parts: Mapping[str, Footprint]) -> Activations:
    """Give the bytes of a stage with objective heads."""
    half = stage.stage.trainer.precision != "32-true"
    recomputed, graph = checkpointed_parts(stage), with_gradients(plan, stage)
    held, transient = 0.0, 0.0
    for part, found in parts.items():
        units, length = _units(plan, part, sizes)
        layer = units * (found.layer.size(half=half) + _square(found, part, sizes) * length * (2 if half else 4))
        if part in graph:
            of_layers = units * 4 * found.width if part in recomputed else layer
            held += found.layers * of_layers + units * found.outside.size(half=half)
        else:  # nothing is held, but the first features live while the others are made
            transient = max(transient, units * found.outside.size(half=half))
        transient = max(transient, layer if found.layers else 0.0)
    return Activations(held + _inputs(plan, stage, sizes), transient, _logits(plan, stage, sizes, half=half))


def with_gradients(plan: Plan, stage: StagePlan) -> frozenset[str]:
    """Give the parts that a gradient passes: what is trained, and what stands behind it on the way to a loss."""
    found = set(stage.trained) & set(stage.used)
    for name, branch in plan.inputs.items():
        encoders = {f"{each.name}.encoder" for each in (branch, *branch.sources)}
        if encoders & found and f"{name}.projector" in stage.used:
            found.add(f"{name}.projector")
    fed = [f"{name}.head" for name, output in plan.outputs.items() if output.feeds and name in stage.stage.loss]
    inner = any(part in found for part in (*fed, *(f"{name}.projector" for name in plan.inputs)))
    if inner and "backbone" in stage.used:
        found.add("backbone")
    for name, output in plan.outputs.items():
        tapped = output.head.tap if "." in output.head.tap else "backbone"
        if f"{name}.head" in stage.used and tapped in found:
            found.add(f"{name}.head")
    return frozenset(found)


def _units(plan: Plan, part: str, sizes: BatchSizes) -> tuple[float, int]:
    """Give the units of a part in a batch, and how many of them attend to one another."""
    branch, _, slot = part.partition(".")
    if part == "backbone":
        return sizes.tokens, sizes.length
    if slot == "encoder":
        return sizes.encoded(branch), sizes.frames.get(branch, 0)
    if slot == "projector":
        return sizes.projected(branch), sizes.positions.get(branch, 0)
    if slot == "head":
        output = plan.outputs[branch]
        spoken = 0 if "." in output.head.tap or output.codes is None else round(
            sizes.answer_tokens * SPOKEN * float(output.codes.rate))
        return answer_frames(output, sizes, plan.backbone), spoken
    return 0.0, 0


def _square(found: Footprint, part: str, sizes: BatchSizes) -> float:
    """A packed backbone has no mask."""
    return max(0.0, found.square - 1) if part == "backbone" and sizes.packed else found.square


def _inputs(plan: Plan, stage: StagePlan, sizes: BatchSizes) -> float:
    """Give the bytes of the backbone's input, before and after the signals are put in, and of the batch itself."""
    raw = sum(4 * sizes.signals[name] * _values(plan, name, sizes) for name in sizes.signals)
    dim = plan.backbone.dim if plan.backbone and "backbone" in stage.used and not stage.table else 0
    return raw + 2 * 4 * sizes.tokens * dim


def _values(plan: Plan, branch: str, sizes: BatchSizes) -> float:
    """Give the values of one signal."""
    spec = plan.inputs[branch].encoder.input
    if spec.rate is None:
        count = 1
        for side in spec.shape:
            count *= side
        return count
    rate = plan.inputs[branch].encoded.rate
    return sizes.frames[branch] * float(spec.rate / rate) if rate else 30 * float(spec.rate)


def _logits(plan: Plan, stage: StagePlan, sizes: BatchSizes, *, half: bool) -> float:
    """Give the bytes of the logits of heads that tap them, chunk by chunk, with the gradient of the output matrix."""
    total = 0.0
    for name in stage.stage.loss:
        output = plan.outputs[name]
        if output.head.tap == "logits" and plan.backbone:
            targets = sizes.tokens if sizes.packed else sizes.rows * sizes.answer_tokens
            count = targets * plan.backbone.vocabulary
            total += LOGIT * min(count, MOST_LOGITS)
            if count > MOST_LOGITS and "backbone" in stage.trained and "backbone" not in stage.tuning:
                total += 4 * plan.backbone.vocabulary * plan.backbone.dim
    return total
