"""Matrices in 8 or 4 bits, by torchao: whole numbers with scales, or NF4 (QLoRA, arXiv:2305.14314)."""

from __future__ import annotations

from importlib.util import find_spec
from math import gcd
from typing import Literal

from torch import Tensor, nn

from omnikit.errors import RunError

BLOCK, SCALES = 64, 256  # NF4: numbers that share a scale, and scales that share one of their own; as QLoRA has them
LoadIn = Literal["8bit", "4bit"]


def check_torchao(what: str) -> None:
    """Raise RunError where torchao is missing; `what` is the sentence's beginning."""
    if find_spec("torchao") is None:
        raise RunError(f"{what}, which needs the package torchao, and it is not installed here; pip install torchao, or leave"
                       " load_in out.")


def small(weight: Tensor, load_in: str) -> Tensor:
    """Give a matrix in 8 bits (a scale for each row) or 4 bits (NF4); it computes with inputs of the matrix's own dtype."""
    from torchao.quantization import Int8WeightOnlyConfig, quantize_, to_nf4  # takes seconds

    if load_in == "4bit":
        found: Tensor = to_nf4(weight.contiguous(), BLOCK, gcd(weight.numel() // BLOCK, SCALES))
        return found
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    layer.weight = nn.Parameter(weight, requires_grad=False)
    quantize_(layer, Int8WeightOnlyConfig())
    return layer.weight.detach()


def quantise_layers(part: nn.Module, load_in: LoadIn) -> int:
    """Hold the matrices of a part's repeated layers in 8 or 4 bits, for inference; gives how many there are.

    Raises:
        RunError: torchao is not installed.
    """
    check_torchao(f"load_in is {load_in}")
    layers = {id(layer): layer for stack in part.modules() if isinstance(stack, nn.ModuleList) for layer in stack.modules()
              if type(layer) is nn.Linear and layer.weight.numel() % BLOCK == 0}
    for layer in layers.values():
        layer.weight = nn.Parameter(small(layer.weight.detach(), load_in), requires_grad=False)
    return len(layers)
