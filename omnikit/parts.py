"""Builds one part of a plan, with random weights of its own seed, and sets its mode. Uses no other part and no file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from omnikit.contracts.configs import BackboneConfig
from omnikit.contracts.optional import backbone_options

if TYPE_CHECKING:
    from omnikit.plan.plan import Plan


def build_part(plan: Plan, path: str, config: Any) -> nn.Module:
    """Build one part of a plan with the dimensions that the plan filled in."""
    branch, _, slot = path.partition(".")
    if slot == "projector":
        input_branch = plan.inputs[branch]
        assert input_branch.projected, "the plan lists its own parts"
        sources, dim = [each.encoded for each in (input_branch, *input_branch.sources)], input_branch.projected.dim
        built: nn.Module = config.build_fused(sources, dim) if input_branch.sources else config.build(*sources, dim)
    elif slot == "head":
        output = plan.outputs[branch]
        built = config.build(output.source, output.codes, output.vocabulary)
    else:
        built = config.build()
    return built


def build_from_settings(config: BackboneConfig, settings: Mapping[str, object]) -> nn.Module:
    """Build a backbone by the settings that its weights file holds."""
    build = backbone_options(config).build_from
    assert build, "only what can be built from settings has some in a weights file"
    return build(settings)


def build_table(config: BackboneConfig, kind: Literal["fresh", "loaded"]) -> nn.Module:
    """Build the backbone's embedding table alone."""
    build = backbone_options(config).build_table
    assert build, "stages use the table alone of backbones that can build it"
    return build(fresh=kind == "fresh")


@contextmanager
def seeded(text: str) -> Iterator[None]:
    """Draw random numbers from a seed made of `text`, and leave the generator as it was; no accelerator is touched."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]))
        yield


def rest_in_eval(module: nn.Module) -> None:
    """Set eval mode where a module has weights and trains none; what has none keeps the mode of what is around it."""
    for inner in module.children():
        if any(weights.requires_grad for weights in inner.parameters()):
            rest_in_eval(inner)
        elif any(True for _ in (*inner.parameters(), *inner.buffers())):
            inner.eval()
