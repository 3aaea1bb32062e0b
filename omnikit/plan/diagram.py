"""The wiring of a plan as an SVG: input branches on the left, the backbone in the middle, output branches on the right.

A head that taps an encoder or a projector hangs below that part; a head that taps the backbone stands right of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape

from omnikit.contracts.specs import FeatureSpec
from omnikit.errors import ConfigError, nearest
from omnikit.plan.branches import BACKBONE_TAPS, OutputBranch
from omnikit.plan.diagram_svg import Arrow, Box, page
from omnikit.plan.tables import GIVES, PlanLike, part_lines

TAPS = {"logits": "logits", "hidden": "hidden", "embedding": "embeddings"}


def draw(plan: PlanLike, stage: str | None = None) -> str:
    """Draw a plan's parts and what flows between them: hidden size × rate, or × positions of an item.

    Args:
        stage: also shows which parts this stage trains, which stay frozen and which do not run.

    Raises:
        ConfigError: there is no such stage.
    """
    if stage is not None and stage not in plan.stages:
        raise ConfigError(f"stage is {stage}, which is not a stage of {plan.recipe.name}.{nearest(stage, plan.stages)}"
                          f" Stages: {', '.join(plan.stages) or 'none'}.")
    boxes = Layout(plan).boxes
    _name(boxes, plan, stage)
    title = plan.recipe.name if stage is None else f"{plan.recipe.name}, stage {stage}"
    return page(escape(title), list(boxes.values()), list(_arrows(plan, boxes)), of_stage=stage is not None)


@dataclass
class Layout:
    """Gives each part its column and lane; nothing overlaps, because each lane of a column is taken once."""

    plan: PlanLike
    boxes: dict[str, Box] = field(default_factory=dict)

    def __post_init__(self) -> None:
        below = self._place_inputs()
        right = self._place_outputs()
        if self.plan.backbone:
            reached = [self.boxes[f"{name}.projector"].lane + 1 for name, b in self.plan.inputs.items() if b.projector]
            self.boxes["backbone"] = Box("backbone", 2, 0, lanes=max([1, right, *reached]))
        self.lanes = max(below, right)

    def _place_inputs(self) -> int:
        lane = 0
        for name, branch in self.plan.inputs.items():
            encoder = self.boxes[f"{name}.encoder"] = Box(f"{name}.encoder", 0, lane)
            if branch.projector:
                self.boxes[f"{name}.projector"] = Box(f"{name}.projector", 1, lane)
            if self.plan.backbone is None:
                lane = self._place_beside(f"{name}.encoder", lane)
                encoder.lanes = lane - encoder.lane
                continue
            lane += 1
            for column, part in ((1, f"{name}.projector"), (0, f"{name}.encoder")):
                lane = self._place_below(part, column, lane)
        return lane

    def _place_beside(self, part: str, lane: int) -> int:
        """Put the heads that tap a part right of it; gives the next free lane."""
        first = lane
        for output in self._tapping(part):
            self.boxes[f"{output.name}.head"] = Box(f"{output.name}.head", 1, lane)
            lane = self._place_codec(output, 2, lane)
        return max(lane, first + 1)

    def _place_below(self, part: str, column: int, lane: int) -> int:
        for output in self._tapping(part):
            self.boxes[f"{output.name}.head"] = Box(f"{output.name}.head", column, lane, indented=True)
            lane += 1
            for slot in ("codec", "units"):
                if getattr(output, slot):
                    self.boxes[f"{output.name}.{slot}"] = Box(f"{output.name}.{slot}", column, lane, indented=True)
                    lane += 1
        return lane

    def _place_outputs(self) -> int:
        lane = 0
        for name, output in self.plan.outputs.items():
            if output.head.tap in BACKBONE_TAPS:
                self.boxes[f"{name}.head"] = Box(f"{name}.head", 3, lane)
                lane = self._place_codec(output, 4, lane)
        return lane

    def _place_codec(self, output: OutputBranch, column: int, lane: int) -> int:
        if output.codec:
            self.boxes[f"{output.name}.codec"] = Box(f"{output.name}.codec", column, lane)
        if output.units:
            lane += 1
            self.boxes[f"{output.name}.units"] = Box(f"{output.name}.units", column, lane)
        return lane + 1

    def _tapping(self, part: str) -> list[OutputBranch]:
        return [output for output in self.plan.outputs.values() if output.head.tap == part]


def _name(boxes: dict[str, Box], plan: PlanLike, stage: str | None) -> None:
    """Fill in what stands in each box, and how it is drawn."""
    components = {line.part: line.component for line in part_lines(plan)}
    chosen = plan.stages[stage] if stage else None
    for part, box in boxes.items():
        box.component, box.dashed = components[part], is_training_only(plan, part)
        box.detail = _detail(plan, part)
        if chosen:
            box.state = "trained" if part in chosen.trained else "frozen" if part in chosen.used else "not run"
            table = part == "backbone" and chosen.table
            box.detail = f"{box.state}, embedding table alone" if table else box.state


def is_training_only(plan: PlanLike, part: str) -> bool:
    """Whether a part runs while training and in no answer: what makes codes of waveforms for a codec that cannot, and, beside a
    backbone, heads for transcripts and captions."""
    branch, _, slot = part.partition(".")
    output = plan.outputs.get(branch)
    if output is None or slot not in ("head", "units"):
        return False
    return slot == "units" or (plan.backbone is not None and output.head.target in ("transcript", "caption"))


def _detail(plan: PlanLike, part: str) -> str:
    branch, _, slot = part.partition(".")
    if part == "backbone" and plan.backbone:
        return f"context {plan.backbone.context}"
    if slot == "codec" and plan.outputs[branch].codes:
        codes = plan.outputs[branch].codes
        return "consecutive repeats merged" if codes and codes.merged else ""
    return ""


def _arrows(plan: PlanLike, boxes: dict[str, Box]) -> Iterator[Arrow]:
    for name, branch in plan.inputs.items():
        encoder = boxes[f"{name}.encoder"]
        yield Arrow(None, encoder, str(branch.encoder.input))
        if branch.projector:
            projector = boxes[f"{name}.projector"]
            for each in (branch, *branch.sources):
                yield Arrow(boxes[f"{each.name}.encoder"], projector, _size(each.encoded))
            most = max(map(branch.medium_length, branch.largest_media())) if branch.joins_media else None
            yield Arrow(projector, boxes["backbone"], _size(branch.projected, most))
    for name, output in plan.outputs.items():
        yield from _output_arrows(name, output, boxes)


def _output_arrows(name: str, output: OutputBranch, boxes: dict[str, Box]) -> Iterator[Arrow]:
    head, tap = boxes[f"{name}.head"], output.head.tap
    source, dashed = boxes[tap if tap not in BACKBONE_TAPS else "backbone"], head.dashed
    size = f"{TAPS[tap]}, {output.source.dim}" if tap in BACKBONE_TAPS else _size(output.source)
    yield Arrow(source, head, size, dashed=dashed)
    if output.feeds:
        yield Arrow(head, source, "codes of each step")
    if output.codec and output.codes:
        codec, codes = boxes[f"{name}.codec"], output.codes
        size = f"{codes.codebooks} × {codes.cardinality}, {float(codes.rate):g} Hz"
        yield Arrow(head, codec, size)
        yield Arrow(codec, None, f"waveform, {codes.sample_rate} Hz")
        if output.units:
            yield Arrow(boxes[f"{name}.units"], codec, "target codes", dashed=True)
    else:
        yield Arrow(head, None, GIVES[output.head.target], dashed=dashed)


def _size(spec: FeatureSpec | None, most: int | None = None) -> str:
    """Give width and rate or positions; `most` are those of the largest medium, where they depend on it."""
    assert spec, "a branch with a projector has a backbone to project for"
    return f"{spec.dim} × {float(spec.rate):g} Hz" if spec.rate is not None else f"{spec.dim} × {most or spec.count}"
