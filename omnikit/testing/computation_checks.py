"""Checks of one forward pass: the same each time, whatever stands beside a row, in every dtype, with its input left alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from omnikit.contracts.optional import backbone_options
from omnikit.testing.backbone_probe import BackboneProbe
from omnikit.testing.check import MODULES, Check
from omnikit.testing.head_probe import HeadProbe
from omnikit.testing.probe import Probe, Row, difference
from omnikit.testing.results import CheckFailure, NotApplicable

CLOSE = 1e-4  # of float32 outputs that must be equal, as a fraction of the largest
LOSS_CLOSE = 1e-4  # of losses, as a fraction


@torch.no_grad()
def deterministic(probe: Probe) -> None:
    """In eval mode two passes give the same, whatever the seed of torch."""
    rows = probe.rows()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        first = _copied(probe.outputs(probe.module, rows))
        torch.manual_seed(2)
        second = probe.outputs(probe.module, rows)
    if (gap := difference(second, first)) > 0:
        raise CheckFailure(f"a second pass in eval mode gives other numbers ({_gap(gap)}); draw random numbers in training mode"
                           " only, or from a generator of its own")


@torch.no_grad()
def input_unchanged(probe: Probe) -> None:
    """A pass leaves its input as it was."""
    given, passed = probe.rows(), list[tuple[Tensor, Tensor]]()
    module: nn.Module = probe.module
    handle = module.register_forward_pre_hook(
        lambda _, inputs: passed.extend((each, each.clone()) for each in _tensors(inputs)))
    _ = probe.outputs(module, given)
    handle.remove()
    if difference(given, probe.rows()) or any(not torch.equal(each, before) for each, before in passed):
        raise CheckFailure("it changes its input in place; work on a copy")


def _tensors(inputs: Sequence[object]) -> Iterator[Tensor]:
    """Give the tensors of positional inputs: themselves, or what signals and features hold."""
    for value in inputs:
        data = getattr(value, "data", None)
        if isinstance(data, Tensor):
            yield data


@torch.no_grad()
def padding(probe: Probe) -> None:
    """A row alone gives what it gives in a batch with longer ones, whose padding holds noise."""
    rows = probe.rows()
    together = probe.outputs(probe.module, rows)
    alone = [probe.outputs(probe.module, [row])[0] for row in rows]
    gaps = [difference([one], [other]) for one, other in zip(together, alone, strict=True)]
    if max(gaps) > CLOSE:
        raise CheckFailure(f"row {gaps.index(max(gaps))} of a batch gives other numbers than alone ({_gap(max(gaps))}); keep"
                           " what lies beyond `lengths` out of every sum, convolution and attention")
    if isinstance(probe, HeadProbe):
        _check_loss(probe, rows)


def _check_loss(probe: HeadProbe, rows: Sequence[Row]) -> None:
    """Hold the loss of a batch against those of its rows, each weighed by what it is a mean over."""
    whole = float(probe.own_loss(probe.module, rows))
    counts = [probe.loss_count([row]) for row in rows]
    parts = [float(probe.own_loss(probe.module, [row])) for row in rows]
    expected = sum(count * part for count, part in zip(counts, parts, strict=True)) / max(sum(counts), 1e-9)
    if abs(whole - expected) > LOSS_CLOSE * max(1.0, abs(expected)):
        raise CheckFailure(f"the loss of a batch is {whole:.5g}, but the mean of its rows' losses, weighed by what `loss_count`"
                           f" gives (by default the ids), is {expected:.5g}")


@torch.no_grad()
def padding_left(probe: BackboneProbe) -> None:
    """Rows that are padded on the left and taken in one step give what they give padded on the right."""
    rows = probe.rows()
    expected = probe.outputs(probe.module, rows)
    found = probe.stepped(probe.module, rows, [max(len(row[0]) for row in rows)])
    if (gap := difference(found, expected)) > CLOSE:
        raise CheckFailure(f"rows padded on the left give other hidden states than padded on the right ({_gap(gap)}); let"
                           " positions count valid tokens only, and mask the rest")


@torch.no_grad()
def packed(probe: BackboneProbe) -> None:
    """Conversations packed into one row give what they give each in a row of its own."""
    if not backbone_options(probe.config).packs:
        raise NotApplicable("its configuration does not pack")
    rows = probe.rows()
    expected = probe.outputs(probe.module, rows)
    ids = torch.cat([row[0] for row in rows])[None]
    documents = torch.cat([torch.full_like(row[0], number) for number, row in enumerate(rows, 1)])[None]
    mask = torch.ones_like(ids, dtype=torch.bool)
    hidden = probe.fresh()(probe.module.embed(ids), mask, documents)[0]  # a fresh one: packing may switch kernels for good
    found = [(states,) for states in hidden.split([len(row[0]) for row in rows])]
    if (gap := difference(found, expected)) > CLOSE:
        raise CheckFailure(f"packed conversations give other hidden states than alone ({_gap(gap)}); let each attend to itself"
                           " only and begin at position 0")


def finite(probe: Probe, dtype: torch.dtype) -> None:
    """Outputs and the loss are finite in this dtype."""
    rows = probe.rows()
    halved = dtype != torch.float32
    with torch.autocast("cpu", dtype, enabled=halved):
        if probe.component.kind != "codec":  # a codec makes audio outside autocast
            with torch.no_grad():
                found = probe.outputs(probe.module, rows)
            if any(each.is_floating_point() and not bool(each.isfinite().all()) for row in found for each in row):
                raise CheckFailure(f"its outputs are not all finite in {_named(dtype)}")
        try:
            loss = probe.loss(probe.module, rows)
        except NotApplicable:
            return
    if probe.component.kind == "head" and (loss.dtype != torch.float32 or loss.ndim):
        raise CheckFailure(f"its loss is {_named(loss.dtype)} of shape {list(loss.shape)} in {_named(dtype)}, but must be a"
                           " float32 scalar")
    if not bool(loss.isfinite()):
        raise CheckFailure(f"its loss is {float(loss)} in {_named(dtype)}")


def float32(probe: Probe) -> None:
    """Outputs and the loss are finite in float32."""
    finite(probe, torch.float32)


def bfloat16(probe: Probe) -> None:
    """Outputs and the loss are computed and finite under autocast to bfloat16."""
    finite(probe, torch.bfloat16)


def float16(probe: Probe) -> None:
    """Outputs and the loss are computed and finite under autocast to float16."""
    finite(probe, torch.float16)


def _named(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _gap(value: float) -> str:
    """Give a difference in words."""
    return "shapes or ids differ" if value == float("inf") else f"by {value:.2g} of the largest number"


def _copied(found: Sequence[Row]) -> list[Row]:
    return [tuple(map(partial(torch.clone), row)) for row in found]


BUILT, BATCHED = ("builds",), ("encoder", "projector", "backbone", "head")
CHECKS = (
    Check("deterministic", deterministic, MODULES, BUILT),
    Check("input_unchanged", input_unchanged, MODULES, BUILT),
    Check("padding", padding, BATCHED, ("builds", "deterministic", "float32", "output_length")),
    Check("padding_left", padding_left, ("backbone",), ("builds", "deterministic", "padding")),
    Check("packed", packed, ("backbone",), ("builds", "deterministic", "padding")),
    Check("float32", float32, MODULES, BUILT),
    Check("bfloat16", bfloat16, MODULES, ("builds", "float32")),
    Check("float16", float16, MODULES, ("builds", "float32")),
)
