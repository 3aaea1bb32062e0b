"""Frozen matrices in 8 or 4 bits while adapters on them train (QLoRA, arXiv:2305.14314), then as they were. By torchao."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from math import gcd

from torch import Tensor, nn

from omnikit.errors import RunError
from omnikit.model import OmniModel
from omnikit.plan.stage_plan import StagePlan
from omnikit.training.trainable.adapters import BASE

BLOCK, SCALES = 64, 256  # NF4: numbers that share a scale, and scales that share one of their own; as QLoRA has them


@contextmanager
def quantised(model: OmniModel, stage: StagePlan) -> Iterator[None]:
    """Hold what a stage's adapters stand on as their `load_in` states; the whole numbers stay in the host's memory meanwhile.

    Raises:
        RunError: torchao is not installed.
    """
    held: list[tuple[nn.Linear, Tensor]] = []
    for part, tuning in stage.tuning.items():
        if tuning.lora and tuning.lora.load_in:
            check_torchao(f"stages.{stage.name}.train.{part}.lora.load_in is {tuning.lora.load_in}")
            for layer in frozen_linear(model.get_submodule(part)):
                held.append((layer, layer.weight))
                layer.weight = nn.Parameter(small(layer.weight.detach(), tuning.lora.load_in), requires_grad=False)
    yield
    for layer, weight in held:
        layer.weight = weight


def check_torchao(what: str) -> None:
    """Raise RunError where torchao is missing; `what` is the sentence's beginning."""
    if find_spec("torchao") is None:
        raise RunError(f"{what}, which needs the package torchao, and it is not installed here; pip install torchao, or leave"
                       " load_in out.")


def frozen_linear(part: nn.Module) -> list[nn.Linear]:
    """Give the linear layers inside repeated layers or under adapters that are not trained and whose weights fill blocks."""
    inside = {id(layer) for stack in part.modules() if isinstance(stack, nn.ModuleList) for layer in stack.modules()}
    return [layer for name, layer in part.named_modules()
            if type(layer) is nn.Linear and (id(layer) in inside or name.endswith(f".{BASE}"))
            and not layer.weight.requires_grad and layer.weight.numel() % BLOCK == 0]


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
