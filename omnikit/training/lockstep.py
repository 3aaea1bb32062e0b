"""Forward passes of ranks with shards, in an order of layers that is the same on each, whatever its batch holds.

Under FSDP2 a layer's weights are collected from all ranks when it runs, forwards and backwards. So encoders run in the plan's
order, on nothing where a batch has nothing for them, and then the backbone.
"""

from collections.abc import Collection

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from omnikit.contracts.media import Medium
from omnikit.contracts.types import Batch, Signal, Targets
from omnikit.plan.branches import InputBranch
from omnikit.taps import Taps


def run_every_part(taps: Taps, wanted: Collection[str], stored: Collection[str] = ()) -> Tensor:
    """Run what a stage's losses need; gives 0, with every weight behind it, so that every rank has a gradient of each.

    Args:
        stored: parts whose features are read from a cache; see omnikit.training.feature_cache.
    """
    model = taps.model
    total = run_encoders(taps, [f"{name}.encoder" for name in model.plan.inputs if f"{name}.encoder" not in stored])
    needs_hidden = any(model.plan.outputs[name].needs_hidden for name in wanted if name in model.plan.outputs)
    if needs_hidden and "backbone" not in stored:
        total = total + 0 * taps.hidden.float().sum()
    for weight in model.parameters():
        if weight.requires_grad and not isinstance(weight, DTensor):
            total = total + 0 * weight.flatten()[:1].float().sum()
    return total


def run_encoders(taps: Taps, encoders: Collection[str]) -> Tensor:
    """Run encoders, and the projectors behind them, in the plan's order; gives 0, with their weights behind it."""
    model, batch = taps.model, taps.batch
    parts, total = model.parts(), torch.zeros((), device=batch.lengths.device)
    for name, branch in model.plan.inputs.items():
        if f"{name}.encoder" in parts and f"{name}.encoder" in encoders:
            last = f"{name}.projector" if f"{name}.projector" in parts else f"{name}.encoder"
            run = taps if name in batch.signals else Taps(model, blank(batch, branch))
            total = total + 0 * run.point(last).data.float().sum()
    return total


def blank(batch: Batch, branch: InputBranch) -> Batch:
    """Give a batch with nothing in it but one second of silence, or one black image, for one branch."""
    spec, device = branch.encoder.input, batch.lengths.device
    length = int(spec.rate or 1)
    data = torch.zeros(1, *spec.shape, device=device) if spec.shape else torch.zeros(1, length, device=device)
    signal = Signal(data, torch.tensor([1 if spec.shape else length], device=device))
    none = torch.zeros(0, dtype=torch.int64, device=device)
    signals = {branch.name: signal} | {each.name: blank(batch, each).signals[each.name] for each in branch.sources}
    text = {branch.name: Targets(none.new_zeros(1, 1), none.new_ones(1))} if branch.instruction_tokenizer else {}
    media = {branch.name: [Medium(branch.media[0])]} if branch.joins_media else {}
    return Batch(none.view(0, 0), none, none.view(0, 0), none, signals, {}, {}, {name: [0] for name in signals}, {}, ["none"],
                 instructions=text, media=media)
