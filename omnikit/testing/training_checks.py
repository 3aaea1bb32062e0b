"""Checks of a few training steps: gradients reach exactly what is trained, and what is frozen stays as it is."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from omnikit.contracts.optional import module_options
from omnikit.plan.patterns import matching
from omnikit.testing.check import MODULES, Check
from omnikit.testing.probe import Probe
from omnikit.testing.results import CheckFailure, NotApplicable

STEPS = 4  # until which a gradient must have reached everything: gates that begin at zero hold the first ones back
LR = 1e-2
SHOWN = 3


def gradients(probe: Probe) -> None:
    """Within a few steps a gradient reaches every parameter but its `unused_parameters`, and none of these."""
    module = probe.fresh()
    if not list(module.parameters()):
        raise NotApplicable("it has no parameters")
    missing = step_through(probe, module)
    unused = set(unused_parameters(module))
    if reached := [name for name, _ in module.named_parameters() if name in unused and name not in missing]:
        raise CheckFailure(f"a gradient reaches {shown(reached)}, which its `unused_parameters` name; take it out of them")
    if lost := [name for name in missing if name not in unused]:
        raise CheckFailure(f"in {STEPS} steps no gradient but zero reaches {shown(lost)}; use it, remove it, or name it in the"
                           " module's `unused_parameters` where checkpoints hold it")


def step_through(probe: Probe, module: nn.Module) -> list[str]:
    """Train a few steps; give the parameters that no gradient but zero has reached."""
    module.train()
    moving = torch.optim.Adam(module.parameters(), lr=LR)
    waiting = [name for name, _ in module.named_parameters()]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for step in range(STEPS):
            moving.zero_grad()
            loss = probe.loss(module, probe.rows(seed=step))
            if not loss.requires_grad:
                raise CheckFailure("its loss has no gradient at all; let no `no_grad` or `detach` stand on the way of training")
            loss.backward()  # type: ignore[no-untyped-call]  # torch has none here
            found = dict(module.named_parameters())
            waiting = [name for name in waiting if not _reached(found[name])]
            if not waiting:
                break
            moving.step()
    return waiting


def frozen(probe: Probe) -> None:
    """Frozen and in eval mode, no parameter and no buffer moves while others train, and none gets a gradient."""
    module = probe.fresh().requires_grad_(False)
    before = held(module)
    beside = torch.ones((), requires_grad=True)
    for seed in range(2):
        try:
            (probe.loss(module, probe.rows(seed)) * beside).backward()  # type: ignore[no-untyped-call]  # torch has none here
        except NotApplicable:
            with torch.no_grad():
                probe.outputs(module, probe.rows(seed))
    after = held(module)
    moved = [name for name, tensor in after.items() if name not in before or not _same(tensor, before[name])]
    if moved or len(after) != len(before):
        raise CheckFailure(f"it is frozen, but {shown(moved) or 'a tensor'} changes; move it in training mode only")
    if any(weights.grad is not None for weights in module.parameters()):
        raise CheckFailure("it is frozen, but its parameters get gradients")


def held(module: nn.Module) -> dict[str, Tensor]:
    """Give copies of all parameters and buffers, those that no checkpoint holds too."""
    return {name: tensor.detach().clone() for name, tensor in (*module.named_parameters(), *module.named_buffers())}


def unused_parameters(module: nn.Module) -> list[str]:
    """Give the names of the parameters that a module states to be unused."""
    names = [name for name, _ in module.named_parameters()]
    return [name for pattern in module_options(module).unused_parameters for name in matching(pattern, names)]


def shown(names: list[str]) -> str:
    """Give the first few names, and how many more there are."""
    return f"{', '.join(names[:SHOWN])}{f' and {len(names) - SHOWN} more' if len(names) > SHOWN else ''}"


def _reached(weights: nn.Parameter) -> bool:
    return weights.grad is not None and (not weights.numel() or bool(weights.grad.any()))


def _same(one: Any, other: Any) -> bool:
    return bool(torch.equal(one, other)) or bool((one.isnan() & other.isnan() | (one == other)).all())


CHECKS = (
    Check("gradients", gradients, MODULES, ("builds", "float32")),
    Check("frozen", frozen, MODULES, ("builds", "float32")),
)
