"""What losses are means over: the targets of a batch, and of all batches of an accumulation window. Counts on the host.

A head's loss is a mean over its batch. The batches of a window hold different numbers of targets, so the mean of their means is
not the mean over the window: each batch takes along how many targets it has and how many the window has, and training weighs
its loss by the quotient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from omnikit.contracts.configs import HeadConfig
from omnikit.contracts.optional import head_options
from omnikit.contracts.types import Targets

PADDING = -100  # of Targets.ids


class CountedBatch(Protocol):
    """A batch with what its losses are means over, and the losses of its window; both: loss → number of targets."""

    target_counts: dict[str, float]
    window_counts: dict[str, float] | None


def target_count(head: HeadConfig, targets: Targets) -> float:
    """Give what a head's loss of these targets is a mean over: what the head states, else the ids that are not padding."""
    stated = head_options(head).loss_count
    if stated is not None:
        return float(stated(targets))
    frames = targets.ids if targets.ids.ndim == 2 else targets.ids[..., 0]  # of codes, those of the first codebook
    return float((frames != PADDING).sum())


def count_window(batches: Sequence[CountedBatch]) -> None:
    """Add to the batches of an accumulation window how many targets it holds; the last window may be incomplete."""
    totals: dict[str, float] = {}  # one object for all of them, by which a window is known
    for batch in batches:
        for name, count in batch.target_counts.items():
            totals[name] = totals.get(name, 0.0) + count
    for batch in batches:
        batch.window_counts = totals
