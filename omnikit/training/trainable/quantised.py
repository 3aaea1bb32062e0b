"""Frozen matrices in 8 or 4 bits while adapters on them train (QLoRA, arXiv:2305.14314), then as they were. By torchao."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from omnikit.model import OmniModel
from omnikit.plan.stage_plan import StagePlan
from omnikit.store.quantise import BLOCK, check_torchao, small
from omnikit.training.trainable.adapters import BASE


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


def frozen_linear(part: nn.Module) -> list[nn.Linear]:
    """Give the linear layers inside repeated layers or under adapters that are not trained and whose weights fill blocks."""
    inside = {id(layer) for stack in part.modules() if isinstance(stack, nn.ModuleList) for layer in stack.modules()}
    return [layer for name, layer in part.named_modules()
            if type(layer) is nn.Linear and (id(layer) in inside or name.endswith(f".{BASE}"))
            and not layer.weight.requires_grad and layer.weight.numel() % BLOCK == 0]
