"""What losses are means over: the targets of a batch, and of all batches of an optimizer step. Counts on the host.

A head's loss is a mean over its batch. Batches of one step hold different numbers of targets, so the mean of their means is not
the mean over the step: each batch takes along how many targets it has and how many the whole step has, and training weighs its
loss by the quotient.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Protocol, TypeVar

from omnikit.contracts.configs import HeadConfig
from omnikit.contracts.optional import head_options
from omnikit.contracts.types import Targets

PADDING = -100  # of Targets.ids


class CountedBatch(Protocol):
    """A batch with the targets of its losses and of the losses of its step; both: loss → number."""

    target_counts: dict[str, float]
    step_counts: dict[str, float] | None


B = TypeVar("B", bound=CountedBatch)


def target_count(head: HeadConfig, targets: Targets) -> float:
    """Give what a head's loss of these targets is a mean over: what the head states, else the ids that are not padding."""
    stated = head_options(head).loss_count
    if stated is not None:
        return float(stated(targets))
    frames = targets.ids if targets.ids.ndim == 2 else targets.ids[..., 0]  # of codes, those of the first codebook
    return float((frames != PADDING).sum())


def share(count: float, total: float) -> float:
    """Give the factor by which a batch's mean over `count` targets enters the mean over `total`; a mean over none was over 1."""
    return (count or 1.0) / (total or 1.0)


def counted_steps(batches: Iterable[B], accumulate: int) -> Iterator[B]:
    """Give batches with the counts of their step: of `accumulate` batches, or of as many as are left at the end."""
    source = iter(batches)
    while step := list(islice(source, accumulate)):
        totals = summed(batch.target_counts for batch in step)
        for batch in step:
            batch.step_counts = totals
            yield batch


def summed(counts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Give the sum of each loss's counts."""
    totals: dict[str, float] = defaultdict(float)
    for each in counts:
        for name, count in each.items():
            totals[name] += count
    return dict(totals)
