"""What moves the weights of a stage, and how fast: AdamW, and Muon for matrices where a stage asks for it."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, overload

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Muon, Optimizer

from omnikit.errors import RunError
from omnikit.model import OmniModel
from omnikit.plan.plan import StagePlan
from omnikit.recipe.recipe import Optim

Group = dict[str, Any]  # as torch's optimizers take it


class CombinedOptimizer(Optimizer):
    """Optimizers of different weights that step as one; a schedule changes the rates of all."""

    def __init__(self, *optimizers: Optimizer) -> None:
        self.optimizers = optimizers
        super().__init__([group for one in optimizers for group in one.param_groups], {})

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Step each; the closure makes the gradients of all."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for one in self.optimizers:
            one.step()
        return loss


def optimizer(model: OmniModel, stage: StagePlan, *, fused: bool) -> Optimizer:
    """Give what moves a stage's weights: AdamW; with `muon`, Muon for the matrices of repeated layers, momentum 0.95.

    Raises:
        RunError: Muon is wanted, but no trained part has a matrix for it.

    Source: Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024.
    """
    optim, trained = stage.stage.optim, stage.trained
    moved, betas = groups(model, trained, optim), (optim.beta1, optim.beta2)
    if not optim.muon:
        return AdamW(moved, lr=optim.lr, betas=betas, fused=fused)
    muon = {id(w) for path in trained for w in matrices(model.get_submodule(path))}
    orthogonal, rest = _filtered(moved, lambda w: id(w) in muon), _filtered(moved, lambda w: id(w) not in muon)
    if not orthogonal:
        raise RunError(f"stages.{stage.name}.optim.muon is {optim.muon:g}, but Muon moves the matrices of repeated layers, and"
                       f" {', '.join(trained)} have none; set it to null.")
    for group in orthogonal:
        group["lr"] = optim.muon * group["lr"] / optim.lr
    by_rest = [AdamW(rest, lr=optim.lr, betas=betas, fused=fused)] if rest else []
    return CombinedOptimizer(Muon(orthogonal, lr=optim.muon), *by_rest)


def matrices(part: nn.Module) -> list[Tensor]:
    """Give the two-dimensional weights inside the repeated layers of a part: no embeddings, classes or convolutions."""
    layers = [module for stack in part.modules() if isinstance(stack, nn.ModuleList) for module in stack.modules()]
    found = {id(w): w for module in layers if not isinstance(module, nn.Embedding)
             for w in module.parameters(recurse=False) if w.ndim == 2}
    return list(found.values())


def groups(model: OmniModel, trained: tuple[str, ...], optim: Optim) -> list[Group]:
    """Give parameter groups: each trained part with its own rate and decay; vectors (norms, biases) do not decay."""
    found: list[Group] = []
    for path, part in model.parts().items():
        if path in trained:
            own = part_options(optim, path)
            for decays in (True, False):
                weights = [p for p in part.parameters() if p.requires_grad and (p.ndim > 1) == decays]
                decay = own.get("weight_decay", optim.weight_decay) if decays else 0.0
                if weights:
                    found.append({"params": weights, "lr": own.get("lr", optim.lr), "weight_decay": decay})
    return found


def _filtered(found: Sequence[Group], wanted: Callable[[Tensor], bool]) -> list[Group]:
    groups = [{**group, "params": [w for w in group["params"] if wanted(w)]} for group in found]
    return [group for group in groups if group["params"]]


def part_options(optim: Optim, path: str) -> dict[str, float]:
    """Give the numbers that `optim.parts` sets for a part, or for the branch around it."""
    node: object = optim.parts
    found: dict[str, float] = {}
    for word in path.split("."):
        node = node.get(word, {}) if isinstance(node, Mapping) else {}
        if isinstance(node, Mapping):
            found.update(_numbers(node))
    return found


def rate(step: int, steps: int, optim: Optim) -> float:
    """Give the factor of the learning rate at a step: up a line over the warm-up, then down the schedule to zero."""
    warm = round(optim.warmup * steps)
    if step < warm:
        return (step + 1) / warm
    done = (step - warm) / max(1, steps - warm)
    return {"cosine": 0.5 + 0.5 * math.cos(math.pi * min(1.0, done)), "linear": max(0.0, 1.0 - done)}.get(optim.schedule, 1.0)


def _numbers(node: Mapping[str, object]) -> dict[str, float]:
    return {name: float(value) for name, value in node.items() if isinstance(value, int | float)}
