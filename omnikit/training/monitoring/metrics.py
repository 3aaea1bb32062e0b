"""metrics.csv: a row of numbers every few steps, which trackers get as well. Uses no model and no Lightning.

What is summed between two rows stays on the device until a row is written, so that no step waits for it.
"""

from __future__ import annotations

import csv
import math
import os
import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from omnikit.errors import RunError
from omnikit.store.files import disk_errors
from omnikit.training.distributed import World
from omnikit.training.monitoring.token_counts import TokenCounts
from omnikit.training.monitoring.trackers import Tracker

VOLATILE = ("tokens_per_second", "data_seconds", "memory_gib", "flops_utilisation", "seconds")
"""Columns that differ between two trainings of the same stage."""


@dataclass(frozen=True)
class Columns:
    """What a stage's rows hold beside step, lr, losses and seconds.

    Args:
        parts: trained parts, whose learning rates and gradient norms are columns.
        modalities: whose tokens are columns: text, and input branches.
        flops_per_token: of the weights' matrix products, forwards and backwards; with `peak_flops` there is a column for the
            fraction of the device's peak.
        peak_flops: of all ranks' devices, per second; None where it is not known.
    """

    parts: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    flops_per_token: float = 0.0
    peak_flops: float | None = None


@dataclass
class Interval:
    """What is gathered between two rows: sums over targets, and their number; tensors are on the device."""

    sums: dict[str, Tensor] = field(default_factory=dict)
    counts: dict[str, float] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)
    positions: int = 0
    waited: float = 0.0
    gradients: dict[str, Tensor] = field(default_factory=dict)
    start: float = field(default_factory=time.monotonic)


class Metrics:
    """Means of the losses over the targets between two rows of a CSV file, and how the stage trains.

    Args:
        names: of the losses.
        stage: for messages.
        trackers: what gets each row as well.
    """

    def __init__(self, path: Path, names: tuple[str, ...], stage: str, columns: Columns = Columns(),
                 trackers: Sequence[Tracker] = ()) -> None:
        self.path, self.names, self.stage, self.columns, self.trackers = path, names, stage, columns, list(trackers)
        self.step = 0  # of the last row
        self.last: dict[str, float] = {}
        self._now = Interval()
        self._start = time.monotonic()

    def add(self, losses: Mapping[str, Tensor], targets: Mapping[str, float] | None = None) -> None:
        """Add the losses of a batch.

        Args:
            targets: loss → the targets that it is a mean over; a loss that is not among them counts as one.
        """
        for name, loss in losses.items():
            count = (targets or {}).get(name, 1.0)
            total = loss.detach().float() * count
            self._now.sums[name] = self._now.sums[name] + total if name in self._now.sums else total
            self._now.counts[name] = self._now.counts.get(name, 0.0) + count

    def count(self, found: TokenCounts) -> None:
        """Add the tokens of a batch."""
        for name, number in found.useful.items():
            self._now.tokens[name] = self._now.tokens.get(name, 0) + number
        self._now.positions += found.positions

    def wait(self, seconds: float) -> None:
        """Add time that no step was computed in, because the next batch was not there."""
        self._now.waited += seconds

    def gradients(self, norms: Mapping[str, Tensor]) -> None:
        """Set each trained part's norm of the gradient, as it is before clipping, of the step that the next row is for."""
        self._now.gradients = dict(norms)

    def merge(self, world: World) -> None:
        """Give the first rank what all ranks gathered since the last row, and empty the others; every rank takes part."""
        if world.size == 1:
            return
        now = self._now
        found = world.all(({name: float(total) for name, total in now.sums.items()}, now.counts, now.tokens, now.positions))
        self._now = Interval(waited=now.waited, gradients=now.gradients, start=now.start)
        if not world.is_first:
            return
        for sums, counts, tokens, positions in found:
            for name, total in sums.items():
                self._now.sums[name] = self._now.sums.get(name, torch.zeros(())) + total
            for into, values in ((self._now.counts, counts), (self._now.tokens, tokens)):
                into |= {name: into.get(name, 0) + value for name, value in values.items()}
            self._now.positions += positions

    def check(self, step: int) -> dict[str, float]:
        """Give the mean of each loss over its targets since the last row.

        Raises:
            RunError: one is NaN or infinite.
        """
        means = {name: float(total) / (self._now.counts[name] or 1.0) for name, total in self._now.sums.items()}
        for name, mean in means.items():
            if not math.isfinite(mean):
                raise RunError(f"Stage {self.stage} at step {step}: loss {name} is {mean}, which is not a number; lower"
                               f" stages.{self.stage}.optim.lr, or look for broken rows with omnikit check --deep.")
        return means

    def write(self, step: int, lr: float, rates: Mapping[str, float] | None = None) -> None:
        """Append a row, with the mean of each loss since the last one.

        Args:
            lr: learning rate of the first group.
            rates: trained part → its own.

        Raises:
            RunError: a loss is NaN or infinite, so what was trained since is lost; or the file cannot be written.
        """
        means, now = self.check(step), self._now
        self._now = Interval()
        self.step = step
        self.last.update(means)
        row = {"step": float(step), "lr": lr, **{f"loss.{name}": means.get(name) for name in self.names},
               **{f"lr.{part}": (rates or {}).get(part) for part in self.columns.parts},
               **self._norms(now.gradients), **self._tokens(now), "seconds": time.monotonic() - self._start}
        self._append(row)
        for tracker in self.trackers:
            tracker.log(step, {name: value for name, value in row.items() if name != "step" and value is not None})

    def state_dict(self) -> dict[str, Any]:
        """Give what is gathered since the last row, and the length of the file."""
        now = self._now
        return {"step": self.step, "last": dict(self.last), "sums": dict(now.sums), "counts": dict(now.counts),
                "tokens": dict(now.tokens), "positions": now.positions, "seconds": time.monotonic() - self._start,
                "size": self.path.stat().st_size if self.path.exists() else 0}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave, and cut the file's later rows off.

        Raises:
            RunError: the file lacks rows, or cannot be written.
        """
        self.step, self.last = state["step"], state["last"]
        self._now = Interval(state["sums"], state["counts"], state["tokens"], state["positions"])
        self._start = time.monotonic() - state["seconds"]
        found = self.path.stat().st_size if self.path.exists() else 0
        if found < state["size"]:
            raise RunError(f"{self.path} has {found} bytes, but {state['size']} were written before the checkpoint of step"
                           f" {self.step}; begin the stage from scratch with --restart.")
        if found:
            with disk_errors(self.path):
                os.truncate(self.path, state["size"])

    def close(self) -> None:
        """End the trackers."""
        for tracker in self.trackers:
            tracker.close()

    def _norms(self, gradients: Mapping[str, Tensor]) -> dict[str, float | None]:
        if not self.columns.parts:
            return {}
        norms = {part: float(norm) for part, norm in gradients.items()}
        total = math.sqrt(sum(norm * norm for norm in norms.values())) if norms else None
        return {"grad_norm": total, **{f"grad_norm.{part}": norms.get(part) for part in self.columns.parts}}

    def _tokens(self, now: Interval) -> dict[str, float | None]:
        """Give what a stage's rows hold about its tokens, its waiting, and the memory."""
        columns, seconds = self.columns, max(1e-9, time.monotonic() - now.start)
        if not columns.parts:
            return {}
        useful, found = sum(now.tokens.values()), {}
        if columns.modalities:
            found = {f"tokens.{name}": float(now.tokens.get(name, 0)) for name in columns.modalities}
            found["padding"] = 1 - useful / now.positions if now.positions else 0.0
            found["tokens_per_second"] = useful / seconds
        found |= {"data_seconds": now.waited, "memory_gib": memory_peak() / 2**30}
        if columns.modalities and columns.peak_flops:
            found["flops_utilisation"] = useful * columns.flops_per_token / seconds / columns.peak_flops
        return dict(found)

    def _append(self, row: Mapping[str, float | None]) -> None:
        fresh = not self.path.exists() or not self.path.stat().st_size
        with disk_errors(self.path), self.path.open("a", newline="") as file:
            lines = csv.writer(file)
            if fresh:
                lines.writerow(row)
            lines.writerow(["" if value is None else f"{value:.1f}" if name == "seconds" else f"{value:.6g}" if name != "step"
                            else int(value) for name, value in row.items()])


def memory_peak() -> float:
    """Give the most bytes so far: of the GPU's memory where there is one, else of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
