"""What a weight is for, by the module that owns it and by its name: whether it decays, and whether it is a matrix for Muon.

The number of dimensions does not answer this: the gain of a weight norm has three and a table of positions two, and neither may
be drawn to zero; the fused experts of a layer have three and are matrices.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from torch import nn
from torch.nn.utils.parametrize import ParametrizationList

GAIN = "original0"  # of torch's parametrized weight norm; `original1` is the direction
NAMED = frozenset({"bias", "class", "cls", "gain", "g", "pos", "position", "positional", "positions", "scale"})
"""Words in the name of a parameter, or of the table that holds it, that is neither a matrix nor a table of tokens."""


@runtime_checkable
class NamesUndecayed(Protocol):
    """A module that names parameters of its own which do not decay, as timm's models do."""

    def no_weight_decay(self) -> set[str]:
        """Give names inside the module."""


def parameters(part: nn.Module) -> Iterator[tuple[str, nn.Module, nn.Parameter]]:
    """Give the name, the owner and the tensor of each parameter, shared ones once."""
    seen: set[int] = set()
    for path, owner in part.named_modules():
        for name, weight in owner.named_parameters(recurse=False):
            if id(weight) not in seen:
                seen.add(id(weight))
                yield f"{path}.{name}".lstrip("."), owner, weight


def decaying(part: nn.Module) -> list[nn.Parameter]:
    """Give the parameters that decay: matrices, kernels, experts and token tables; no norm, bias, gain, class or position."""
    named = _undecayed(part)
    return [weight for name, owner, weight in parameters(part) if name not in named and _decays(name, owner, weight)]


def matrices(part: nn.Module) -> list[nn.Parameter]:
    """Give the matrices inside the repeated layers of a part [out, in], and its fused experts [experts, out, in]."""
    inside = {id(weight) for stack in part.modules() if isinstance(stack, nn.ModuleList) for weight in stack.parameters()}
    decays = {id(weight) for weight in decaying(part)}
    return [weight for _, owner, weight in parameters(part)
            if id(weight) in inside and id(weight) in decays and _is_matrix(owner, weight)]


def _decays(name: str, owner: nn.Module, weight: nn.Parameter) -> bool:
    if weight.ndim < 2:
        return False
    if isinstance(owner, ParametrizationList):
        return not name.endswith(GAIN)
    words = name.split(".")
    if isinstance(owner, nn.Linear | nn.modules.conv._ConvNd):
        return words[-1] != "weight_g"  # of the weight norm before parametrizations
    return NAMED.isdisjoint(re.split(r"[._]", ".".join(words[-2:])))


def _is_matrix(owner: nn.Module, weight: nn.Parameter) -> bool:
    kernel = isinstance(owner, nn.Embedding | ParametrizationList | nn.modules.conv._ConvNd)
    return weight.ndim in (2, 3) and not kernel


def _undecayed(part: nn.Module) -> set[str]:
    return {f"{path}.{name}".lstrip(".") for path, module in part.named_modules() if isinstance(module, NamesUndecayed)
            for name in module.no_weight_decay()}
