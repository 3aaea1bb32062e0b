"""What moves the weights of a stage, and how fast: the optimizer that `optim.name` names, and Muon for matrices."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, overload

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Adafactor, AdamW, Muon, Optimizer

from omnikit.errors import RunError
from omnikit.model import OmniModel
from omnikit.plan.missing import OPTIMIZERS
from omnikit.plan.plan import StagePlan
from omnikit.recipe.optim import Optim
from omnikit.training.distributed import complete, local
from omnikit.training.offload import OffloadedOptimizer
from omnikit.training.roles import decaying, matrices

Group = dict[str, Any]  # as torch's optimizers take it
MUON = 0.02  # peak rate where `name` is muon and the recipe gives none


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

    def state_dict(self) -> dict[str, Any]:
        """Give the states of all, in order."""
        return {"optimizers": [one.state_dict() for one in self.optimizers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take what `state_dict` gave; the rates are those that it held."""
        for one, state in zip(self.optimizers, state_dict["optimizers"], strict=True):
            one.load_state_dict(state)
        self.param_groups = [group for one in self.optimizers for group in one.param_groups]


class UncompiledOptimizer(CombinedOptimizer):
    """Steps without torch.compile, which torchao's optimizers use at every step: on a CPU it costs minutes for nothing."""

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]  # torch has two overloads
        with torch.compiler.set_stance("force_eager"):
            return super().step(closure)  # type: ignore[arg-type]  # either of its two


class ExpertMuon(Optimizer):
    """Muon for fused experts [experts, out, in], each matrix by itself; torch's takes matrices [out, in] only."""

    def __init__(self, groups: Sequence[Group], lr: float) -> None:
        super().__init__([dict(group) for group in groups], {"lr": lr})
        inner = [{**group, "params": [nn.Parameter(matrix) for stack in group["params"] for matrix in stack.detach()]}
                 for group in self.param_groups]
        self.inner: Optimizer = Muon(inner, lr=lr)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # it is one of a CombinedOptimizer, which calls it
        """Step each expert's matrix."""
        for group, own in zip(self.inner.param_groups, self.param_groups, strict=True):
            group["lr"], matrices = own["lr"], iter(group["params"])
            for stack in own["params"]:
                for index in range(len(stack)):
                    matrix = next(matrices)
                    matrix.data = stack.data[index]
                    matrix.grad = None if stack.grad is None else stack.grad[index]
        self.inner.step()

    def state_dict(self) -> dict[str, Any]:
        """Give the state of the matrices, and the rates."""
        return {"inner": self.inner.state_dict(), "lr": [group["lr"] for group in self.param_groups]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take what `state_dict` gave."""
        self.inner.load_state_dict(state_dict["inner"])
        for group, lr in zip(self.param_groups, state_dict["lr"], strict=True):
            group["lr"] = lr


def check_installed(stages: Collection[StagePlan]) -> None:
    """Refuse optimizers whose package is not installed.

    Raises:
        RunError: one sentence for each stage.
    """
    errors = [f"stages.{stage.name}.optim.name is {stage.stage.optim.name}, which package {package} makes, and it is not"
              f" installed here; pip install {package}, or set it to adafactor, which needs as little memory."
              for stage in stages if (package := OPTIMIZERS.get(stage.stage.optim.name)) and find_spec(package) is None]
    if errors:
        raise RunError(*errors)


def optimizer(model: OmniModel, stage: StagePlan, *, fused: bool) -> Optimizer:
    """Give what moves a stage's weights: the optimizer of `optim.name`; with a rate of Muon, Muon for matrices, momentum 0.95.

    Raises:
        RunError: Muon is wanted, but no trained part has a matrix for it; or a package is missing.

    Source: Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024.
    """
    check_installed([stage])
    found = _optimizers(model, stage, fused=fused)
    if stage.stage.trainer.offload == "optimizer":
        found = [_offloaded(one) for one in found]
    return found[0] if len(found) == 1 else CombinedOptimizer(*found)


def _offloaded(one: Optimizer) -> Optimizer:
    if isinstance(one, ExpertMuon):
        one.inner = OffloadedOptimizer(one.inner)
        return one
    return OffloadedOptimizer(one)


def _optimizers(model: OmniModel, stage: StagePlan, *, fused: bool) -> list[Optimizer]:
    """Give what moves a stage's weights, each some of them."""
    optim, trained = stage.stage.optim, stage.trained
    moved, rate_of_muon = groups(model, trained, optim), muon_rate(optim)
    if rate_of_muon is None:
        return [_named(moved, optim, fused=fused)]
    wanted = {id(w) for path in trained for w in matrices(model.get_submodule(path)) if w.requires_grad}
    orthogonal, rest = _filtered(moved, lambda w: id(w) in wanted), _filtered(moved, lambda w: id(w) not in wanted)
    if not orthogonal:
        raise RunError(f"stages.{stage.name}.optim.muon is {rate_of_muon:g}, but Muon moves the matrices of repeated layers,"
                       f" and {', '.join(trained)} have none; set it to null.")
    for group in orthogonal:
        group["lr"] = rate_of_muon * group["lr"] / optim.lr
    plain, experts = _filtered(orthogonal, lambda w: w.ndim == 2), _filtered(orthogonal, lambda w: w.ndim == 3)
    if any(isinstance(weights, DTensor) for group in experts for weights in group["params"]):
        raise RunError(f"stages.{stage.name}.optim moves fused experts by Muon, matrix by matrix, but strategy fsdp2 shards"
                       " them; set optim.name to adamw and optim.muon to null, or take strategy ddp.")
    found: list[Optimizer] = [Muon(plain, lr=rate_of_muon)] if plain else []
    found += [ExpertMuon(experts, rate_of_muon)] if experts else []
    return [*found, *([_named(rest, optim, fused=fused)] if rest else [])]


def muon_rate(optim: Optim) -> float | None:
    """Give the peak rate of Muon; None where it moves nothing."""
    return MUON if optim.name == "muon" and optim.muon is None else optim.muon


def _named(found: Sequence[Group], optim: Optim, *, fused: bool) -> Optimizer:
    """Give the optimizer that `name` names; where that is muon, AdamW for what Muon does not move."""
    betas = (optim.beta1, optim.beta2)
    if optim.name == "adafactor":
        return Adafactor(list(found), lr=optim.lr)
    if optim.name == "adamw_8bit_paged":
        from bitsandbytes.optim import PagedAdamW8bit  # type: ignore[import-not-found, unused-ignore]  # optional

        paged: Optimizer = PagedAdamW8bit(list(found), lr=optim.lr, betas=betas)
        return paged
    if optim.name == "adamw_8bit":
        from torchao.optim import AdamW8bit  # takes seconds to import

        small: Optimizer = AdamW8bit(list(found), lr=optim.lr, betas=betas)
        on_cpu = all(weight.device.type == "cpu" for group in found for weight in group["params"])
        return UncompiledOptimizer(small) if on_cpu else small
    return AdamW(list(found), lr=optim.lr, betas=betas, fused=fused)


def dequantised(value: Tensor) -> Tensor:
    """Give a tensor of an optimizer's state in floats, of shards the shards, where torchao holds it in 8 bits."""
    found = local(value)
    if not hasattr(found, "dequantize") or type(found) is Tensor:
        return value
    floats: Tensor = found.dequantize()
    return floats if not isinstance(value, DTensor) else DTensor.from_local(
        floats, value.device_mesh, value.placements, run_check=False, shape=value.shape, stride=value.stride())


def quantised_again(optimizer: Optimizer, key: str, value: object, weight: Tensor) -> object:
    """Give floats of an optimizer's state as torchao's 8-bit optimizer holds those of this weight; else the value."""
    new_buffer = getattr(optimizer, "_new_buffer", None)
    if new_buffer is None or not isinstance(value, Tensor) or value.shape != weight.shape or type(local(value)) is not Tensor:
        return value
    buffer: Tensor = new_buffer(weight, key == "exp_avg")  # its only state with a sign
    local(buffer).copy_(local(value))
    return buffer


def groups(model: OmniModel, trained: tuple[str, ...], optim: Optim) -> list[Group]:
    """Give parameter groups: each trained part with its own rate and decay; norms, biases, gains and positions do not decay."""
    found: list[Group] = []
    for path, part in model.parts().items():
        if path in trained:
            own, decayed = part_options(optim, path), {id(weight) for weight in decaying(part)}
            for decays in (True, False):
                weights = [p for p in part.parameters() if p.requires_grad and (id(p) in decayed) == decays]
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


def part_rates(model: OmniModel, trained: Sequence[str], found: Sequence[Group]) -> dict[str, float]:
    """Give each trained part's learning rate now, the largest of its groups."""
    parts = {id(weights): path for path in trained for weights in model.get_submodule(path).parameters()}
    rates: dict[str, float] = {}
    for group in found:
        for path in {parts[id(weights)] for weights in group["params"] if id(weights) in parts}:
            rates[path] = max(rates.get(path, 0.0), group["lr"])
    return rates


def gradient_norms(model: OmniModel, trained: Sequence[str]) -> dict[str, Tensor]:
    """Give the norm of each trained part's gradient, a scalar on its device; a part without any is absent."""
    gradients = {path: [weights.grad for weights in model.get_submodule(path).parameters() if weights.grad is not None]
                 for path in trained}
    return {path: complete(nn.utils.get_total_norm(some)) for path, some in gradients.items() if some}


def rate(step: int, steps: int, optim: Optim) -> float:
    """Give the factor of the learning rate at a step: up a line over the warm-up, then down the schedule to zero."""
    warm = round(optim.warmup * steps)
    if step < warm:
        return (step + 1) / warm
    done = (step - warm) / max(1, steps - warm)
    return {"cosine": 0.5 + 0.5 * math.cos(math.pi * min(1.0, done)), "linear": max(0.0, 1.0 - done)}.get(optim.schedule, 1.0)


def _numbers(node: Mapping[str, object]) -> dict[str, float]:
    return {name: float(value) for name, value in node.items() if isinstance(value, int | float)}
