"""Checks of how a module is stored and copied: the meta device, its state dict, copies."""

from __future__ import annotations

import copy

import torch

from omnikit.ops.empty import empty_weights
from omnikit.parts import seeded
from omnikit.testing.check import MODULES, Check
from omnikit.testing.computation_checks import CLOSE
from omnikit.testing.probe import Probe, difference
from omnikit.testing.results import CheckFailure
from omnikit.testing.training_checks import shown


def meta_device(probe: Probe) -> None:
    """It builds on the meta device, where no tensor has numbers, with the names and shapes that it has elsewhere."""
    real = probe.module.state_dict()
    try:
        with torch.device("meta"):
            empty = probe.make()
    except (RuntimeError, NotImplementedError) as error:
        raise CheckFailure(f"it cannot be built on the meta device: {' '.join(str(error).split())}; read no number of a tensor"
                           " in `build`") from error
    found = empty.state_dict()
    wrong = [name for name in (*real, *(name for name in found if name not in real))
             if name not in found or name not in real or found[name].shape != real[name].shape]
    if wrong:
        raise CheckFailure(f"on the meta device {shown(wrong)} is missing, added or of another shape")
    if filled := [name for name, weights in empty.named_parameters() if not weights.is_meta]:
        raise CheckFailure(f"on the meta device {shown(filled)} has numbers; make it by torch's functions, without a device")


@torch.no_grad()
def empty_build(probe: Probe) -> None:
    """Built without weights and filled from a state dict, as large checkpoints are loaded, it gives the same."""
    rows = probe.rows()
    expected = probe.outputs(probe.module, rows)
    with empty_weights():
        other = probe.make()
    other.load_state_dict(probe.module.state_dict(), assign=True)
    left = [name for name, tensor in (*other.named_parameters(), *other.named_buffers()) if tensor.is_meta]
    if left:
        raise CheckFailure(f"{shown(left)} has no numbers once its state dict is loaded; register it under one name")
    if (gap := difference(probe.outputs(other.eval(), rows), expected)) > CLOSE:
        raise CheckFailure(f"built without weights and filled from a state dict, it gives other numbers (by {gap:.2g}); compute"
                           " what is not saved from numbers, not from random weights")


@torch.no_grad()
def state_dict(probe: Probe) -> None:
    """A module with other random weights, given its state dict, gives the same."""
    rows = probe.rows()
    expected = probe.outputs(probe.module, rows)
    with seeded("conformance 1"):
        other = probe.make().eval()
    other.load_state_dict(probe.module.state_dict())
    if (gap := difference(probe.outputs(other, rows), expected)) > CLOSE:
        raise CheckFailure(f"a module that was given its state dict gives other numbers (by {gap:.2g}); keep all that is drawn"
                           " or learned in parameters and buffers")


@torch.no_grad()
def deep_copy(probe: Probe) -> None:
    """A deep copy gives the same and shares no weights with it."""
    rows = probe.rows()
    expected = probe.outputs(probe.module, rows)
    try:
        other = copy.deepcopy(probe.module)
    except Exception as error:  # whatever its module raises is the reason
        raise CheckFailure(f"its module cannot be copied: {type(error).__name__}: {error}") from error
    if difference(probe.outputs(other, rows), expected) > CLOSE:
        raise CheckFailure("a deep copy of its module gives other numbers")
    own = {weights.data_ptr() for weights in probe.module.parameters() if weights.numel()}
    if shared := [name for name, weights in other.named_parameters() if weights.data_ptr() in own]:
        raise CheckFailure(f"a deep copy of its module shares {shown(shared)} with it")


CHECKS = (
    Check("meta_device", meta_device, MODULES, ("builds",)),
    Check("empty_build", empty_build, MODULES, ("builds", "deterministic", "meta_device", "state_dict")),
    Check("state_dict", state_dict, MODULES, ("builds", "deterministic")),
    Check("deep_copy", deep_copy, MODULES, ("builds", "deterministic")),
)
