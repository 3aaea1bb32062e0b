"""A plan as plain text: what takes and gives what, and what each stage trains. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from omnikit.contracts.configs import BackboneConfig
from omnikit.plan.branches import InputBranch, OutputBranch
from omnikit.plan.stage_plan import StagePlan
from omnikit.recipe.recipe import Recipe
from omnikit.text_table import columns

GIVES = {"codes": "codes", "tokens": "the answer's tokens", "transcript": "transcript", "caption": "caption",
         "state": "audio or noise"}
"""What a head gives, by its target."""
TAPS = {"hidden": "hidden states", "embedding": "token embeddings"}


class PlanLike(Protocol):
    """What tables and diagrams read of a plan."""

    @property
    def recipe(self) -> Recipe: ...

    @property
    def inputs(self) -> dict[str, InputBranch]: ...

    @property
    def outputs(self) -> dict[str, OutputBranch]: ...

    @property
    def backbone(self) -> BackboneConfig | None: ...

    @property
    def stages(self) -> dict[str, StagePlan]: ...


class PartLine(NamedTuple):
    """One part of a model: its path, the component that was picked, what it takes and what it gives."""

    part: str
    component: str
    takes: str
    gives: str


def part_lines(plan: PlanLike) -> list[PartLine]:
    """Describe each part, in wiring order."""
    used = _picked(plan.recipe)
    lines = []
    for name, branch in plan.inputs.items():
        encoder, projector = f"{name}.encoder", f"{name}.projector"
        lines.append(PartLine(encoder, used[encoder], str(branch.encoder.input), str(branch.encoded)))
        if branch.projector:
            takes = " and ".join(str(each.encoded) for each in (branch, *branch.sources))
            lines.append(PartLine(projector, used[projector], takes, _projected(branch)))
    if plan.backbone:
        size = f"hidden size {plan.backbone.dim}"
        gives = f"{size}, {plan.backbone.vocabulary} tokens, context {plan.backbone.context}"
        lines.append(PartLine("backbone", used["backbone"], size, gives))
    for name, output in plan.outputs.items():
        lines += _output_lines(name, output, used)
    return lines


def _projected(branch: InputBranch) -> str:
    """Describe what a projector gives: of one that joins the signals of a medium, for the largest media that there may be."""
    if not branch.joins_media or branch.projected is None or branch.image_spec is None:
        return str(branch.projected)
    counts = {medium.type: branch.medium_length(medium) for medium in branch.largest_media()}
    if len(set(counts.values())) == 1:
        return str(branch.projected)
    return f"hidden size {branch.projected.dim}, at most {counts['video']} positions of a video, {counts['image']} of an image"


def wiring_table(plan: PlanLike, counts: Mapping[str, int] | None = None) -> str:
    """Describe what takes and gives what, with hidden sizes and rates; with `counts`, the parameters of each part."""
    lines = [("part", "component", "takes", "gives", *(["parameters"] if counts else []))]
    lines += [(*line, *([_grouped(counts[line.part])] if counts and line.part in counts else [])) for line in part_lines(plan)]
    if counts:
        inner = [count for part, count in counts.items() if _is_input_or_backbone(plan, part)]
        if 0 < len(inner) < len(counts):
            lines.append(("", "", "", "backbone with its input branches", _grouped(sum(inner))))
        lines.append(("", "", "", "all parts", _grouped(sum(counts.values()))))
    return columns(lines)


def stages_table(plan: PlanLike) -> str:
    """Describe what each stage trains, on what and from which weights."""
    lines = [("stage", "trains", "loss", "data", "steps", "starts from")]
    lines += [(name, stage.trains, _losses(stage), _weights(stage), _steps(stage), _origins(stage))
              for name, stage in plan.stages.items()]
    return columns(lines)


def _picked(recipe: Recipe) -> dict[str, str]:
    """Give part → the name that was picked for it, else its component."""
    used = {"backbone": recipe.backbone.use} if recipe.backbone else {}
    used |= {f"{branch}.{slot}": choice.use for branch, slots in recipe.branches.items() for slot, choice in slots.items()}
    return used | recipe.picks


def _output_lines(name: str, output: OutputBranch, used: Mapping[str, str]) -> list[PartLine]:
    tap = output.head.tap
    takes = f"{tap}, {output.source.dim} tokens" if tap == "logits" else f"{TAPS.get(tap, tap)}, size {output.source.dim}"
    lines = [PartLine(f"{name}.head", used[f"{name}.head"], takes, GIVES[output.head.target])]
    if output.units:
        waveforms = f"waveforms, {output.units.spec.sample_rate} Hz"
        lines.append(PartLine(f"{name}.units", used[f"{name}.units"], waveforms, "codes"))
    if output.codec:
        lines.append(PartLine(f"{name}.codec", used[f"{name}.codec"], "codes", str(output.codes)))
    return lines


def _is_input_or_backbone(plan: PlanLike, part: str) -> bool:
    """Say whether a part is the backbone or brings it a signal: neither a head, nor a codec, nor a learned prompt."""
    branch = plan.inputs.get(part.partition(".")[0])
    return part == "backbone" or (branch is not None and plan.backbone is not None
                                  and branch.encoder.input.modality != "prompt"
                                  and part.rpartition(".")[2] in ("encoder", "projector"))


def _grouped(count: int) -> str:
    return f"{count:,}".replace(",", " ")


def _losses(plan: StagePlan) -> str:
    if plan.stage.objective not in ("heads", "vocoder", "codec"):
        return plan.stage.objective
    return " + ".join(f"{weight:g} {branch}" for branch, weight in plan.stage.loss.items())


def _weights(plan: StagePlan) -> str:
    """Give the mixture weights of a stage's datasets, or the folder that it imports."""
    if plan.stage.objective == "import":
        return str(plan.stage.source.get("folder", plan.stage.source.get("use")))
    return " + ".join(f"{weight:g} {name}" for name, weight in plan.stage.data.items())


def _steps(plan: StagePlan) -> str:
    settings = plan.stage.trainer
    if plan.stage.objective in ("units", "import"):
        return {"units": "fit", "import": "none"}[plan.stage.objective]
    limits = [f"{settings.max_steps} steps"] if settings.max_steps else []
    limits += [f"{settings.max_epochs} epochs"] if settings.max_epochs else []
    if settings.batch_tokens:
        positions = f"{settings.batch_tokens * settings.accumulate} positions"
        return f"{' or '.join(limits)} x {positions}{' packed' if settings.pack else ''}"
    packed = f" packed to {settings.pack}" if settings.pack else ""
    return f"{' or '.join(limits)} x {settings.batch_size * settings.accumulate}{packed}"


def _origins(plan: StagePlan) -> str:
    if plan.stage.objective == "import":
        return f"a checkpoint of layout {plan.stage.source.get('use')}"
    return ", ".join(f"{part} of {stage}" for part, stage in plan.origins.items()) or "fresh weights"
