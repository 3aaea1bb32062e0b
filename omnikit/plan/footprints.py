"""The footprint of each part of a plan that states one, asked with what its module would be built with. Imports no torch."""

from __future__ import annotations

from omnikit.contracts.footprint import Footprint
from omnikit.contracts.optional import backbone_options, codec_options, encoder_options, head_options, projector_options
from omnikit.plan.branches import InputBranch, OutputBranch
from omnikit.plan.plan import Plan


def footprints(plan: Plan) -> dict[str, Footprint]:
    """Give part → footprint; a part whose component states none is absent."""
    found: dict[str, Footprint | None] = {}
    for name, branch in plan.inputs.items():
        found |= _input(name, branch)
    if plan.backbone:
        backbone = backbone_options(plan.backbone).footprint
        found["backbone"] = backbone() if backbone else None
    for name, output in plan.outputs.items():
        found |= _output(name, output)
    return {part: footprint for part, footprint in found.items() if footprint is not None}


def _input(name: str, branch: InputBranch) -> dict[str, Footprint | None]:
    encoder = encoder_options(branch.encoder).footprint
    found = {f"{name}.encoder": encoder() if encoder else None}
    if branch.projector and branch.projected:
        options, dim = projector_options(branch.projector), branch.projected.dim
        sources = [each.encoded for each in (branch, *branch.sources)]
        if branch.sources:
            found[f"{name}.projector"] = options.fused_footprint(sources, dim) if options.fused_footprint else None
        else:
            found[f"{name}.projector"] = options.footprint(branch.encoded, dim) if options.footprint else None
    return found


def _output(name: str, output: OutputBranch) -> dict[str, Footprint | None]:
    head = head_options(output.head).footprint
    found = {f"{name}.head": head(output.source, output.codes, output.vocabulary) if head else None}
    for slot, config in (("units", output.units), ("codec", output.codec)):
        if config:
            codec = codec_options(config).footprint
            found[f"{name}.{slot}"] = codec() if codec else None
    return found
