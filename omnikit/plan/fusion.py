"""How branches meet: projectors that take the features of several encoders, and ways into the backbone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from omnikit.contracts.configs import BackboneConfig, FusionProjectorConfig, ProjectorConfig
from omnikit.contracts.optional import backbone_options
from omnikit.contracts.specs import FeatureSpec
from omnikit.errors import nearest
from omnikit.plan.branches import InputBranch
from omnikit.recipe.recipe import Recipe

TILING = ("least_tiles", "most_tiles", "thumbnail", "frame_rate", "least_frames", "most_frames", "pooled", "grids")


def join_sources(recipe: Recipe, branches: dict[str, InputBranch], errors: list[str]) -> None:
    """Give each branch that names `sources` these branches; what is wrong with them becomes sentences."""
    for name, options in recipe.branch_options.items():
        if name not in branches or not options.sources:
            continue
        problems = list(_misnamed(name, options.sources, branches))
        if "projector" not in recipe.branches[name]:
            problems.append(f"{name}.sources is never read: {name} has no projector; pick one with {name}/projector=<preset>.")
        group = [branches[each] for each in (name, *options.sources) if each in branches]
        problems += [problem for other in group[1:] for problem in _unlike(group[0], other)]
        errors += problems
        if not problems:
            seconds = min(filter(None, (branch.clip for branch in group)), default=None)
            group = [replace(branch, seconds=seconds) for branch in group]
            branches |= {branch.name: branch for branch in group}
            branches[name] = replace(group[0], sources=tuple(group[1:]))


def embedding_dim(branch: InputBranch, backbone: BackboneConfig) -> int:
    """Give the width of the embeddings that a backbone takes of a branch."""
    attended = branch.fusion == "cross_attention" and backbone_options(backbone).memory_dim
    return attended or backbone.dim


def check_fusion(branch: InputBranch, recipe: Recipe, backbone: BackboneConfig | None, errors: list[str]) -> None:
    """Refuse a way into the backbone that it does not offer."""
    offered = backbone_options(backbone).fusions if backbone else ()
    if backbone and recipe.backbone and branch.fusion not in offered and "projector" in recipe.branches[branch.name]:
        errors.append(f"{branch.name}.fusion is {branch.fusion!r}, but backbone {recipe.backbone.use} takes"
                      f" {' or '.join(offered)}; set {branch.name}.fusion to that, or choose another backbone.")


def projector_output(projector: ProjectorConfig | FusionProjectorConfig, branch: InputBranch, dim: int) -> FeatureSpec:
    """Give what a branch's projector gives; raises ValueError where it does not fit its sources."""
    if branch.sources:
        if not isinstance(projector, FusionProjectorConfig):
            named = ", ".join(each.name for each in branch.sources)
            raise ValueError(f"it takes the features of one encoder, but {branch.name}.sources names {named} as well;"
                             f" choose one that takes several, such as {branch.name}/projector=concat_mlp")
        return projector.fused_output([branch.encoded, *(each.encoded for each in branch.sources)], dim)
    if not isinstance(projector, ProjectorConfig):
        raise ValueError(f"it takes the features of several encoders; name the branches of the others with"
                         f" {branch.name}.sources=[<branch>]")
    return projector.output(branch.encoded, dim)


def _misnamed(name: str, sources: tuple[str, ...], branches: dict[str, InputBranch]) -> Iterator[str]:
    known = [other for other in branches if other != name]
    for number, source in enumerate(sources):
        if source not in known:
            yield (f"{name}.sources names {source!r}, but must be another branch with an encoder:"
                   f" {', '.join(known) or 'there is none'}.{nearest(source, known)}")
        elif source in sources[:number]:
            yield f"{name}.sources names {source} twice; name each branch once."


def _unlike(branch: InputBranch, other: InputBranch) -> Iterator[str]:
    """Give why two encoders do not read the same signals."""
    own, theirs = branch.encoder.input, other.encoder.input
    if own.modality != theirs.modality or (other.input or other.name) not in {branch.input, branch.name}:
        yield (f"{branch.name}.sources names {other.name}, but that branch reads other signals; set"
               f" {other.name}.input={branch.input or branch.name} and give it an encoder of {own.modality}.")
    elif own.rate != theirs.rate:
        yield (f"{branch.name}.encoder takes {own} but {other.name}.encoder takes {theirs}; encoders whose features are joined"
               " must read signals of one sample rate.")
    elif branch.image_spec and other.image_spec:
        for setting in TILING:
            found = getattr(branch.image_spec, setting), getattr(other.image_spec, setting)
            if found[0] != found[1]:
                yield (f"{branch.name}.encoder cuts images with {setting} {found[0]} but {other.name}.encoder with {found[1]};"
                       " encoders whose features are joined must cut alike.")
