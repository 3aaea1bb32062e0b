"""How much a batch's losses count in their optimizer step, so that accumulated batches equal one batch of all their rows.

A loss is a mean over the targets of its batch. Weighed by its share of the targets of the window, over all ranks, the losses of
the window add up to the mean over all of its targets; ranks add up their gradients. Uses no model.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor

from omnikit.data.batch.windows import CountedBatch


class WindowScales:
    """Gives the factors of a batch's losses; the totals of a window are added up over ranks once, at its first batch.

    Args:
        names: losses of the stage.
        accumulate: batches of a window, by which Lightning divides each of them, the last window's too.
        ranks: that train the stage together; the processes may be more, where another stage is trained by all.
    """

    def __init__(self, names: Iterable[str], accumulate: int, ranks: int = 1) -> None:
        self.names, self.accumulate, self.ranks = tuple(names), accumulate, ranks
        self._window: dict[str, float] | None = None
        self._totals: dict[str, Tensor] = {}

    def __call__(self, batch: CountedBatch, device: torch.device) -> dict[str, float | Tensor]:
        """Give loss → factor; 1 for a batch that is in no window."""
        window = batch.window_counts
        if window is None:
            return dict.fromkeys(self.names, 1.0)
        counts = {name: batch.target_counts[name] or 1.0 for name in self.names if name in batch.target_counts}
        if self.ranks == 1:
            return {name: self.accumulate * (count / (window[name] or 1.0)) for name, count in counts.items()}
        if self._window is not window:
            self._window, self._totals = window, self._summed(window, device)
        return {name: self.accumulate * count / self._totals[name] for name, count in counts.items()}

    def _summed(self, window: dict[str, float], device: torch.device) -> dict[str, Tensor]:
        """Add up a window's counts over ranks, without waiting for the result on the host."""
        totals = torch.tensor([window.get(name, 0.0) for name in self.names])
        if device.type == "cuda":
            totals = totals.pin_memory().to(device, non_blocking=True)
        dist.all_reduce(totals)
        return dict(zip(self.names, torch.where(totals > 0, totals, 1.0), strict=True))
