"""metrics.csv: a row of numbers every few steps. Uses no model and no Lightning."""

import csv
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from omnikit.errors import RunError
from omnikit.store.files import disk_errors


class Metrics:
    """Means of the losses between two rows of a CSV file; sums stay on the device until a row is written."""

    def __init__(self, path: Path, names: tuple[str, ...], stage: str) -> None:
        self.path, self.names, self.stage = path, names, stage
        self.step = 0  # of the last row
        self.last: dict[str, float] = {}
        self._sums: dict[str, Tensor] = {}
        self._counts = dict.fromkeys(names, 0)
        self._start = time.monotonic()

    def add(self, losses: Mapping[str, Tensor]) -> None:
        for name, loss in losses.items():
            detached = loss.detach()
            self._sums[name] = self._sums[name] + detached if name in self._sums else detached
            self._counts[name] += 1

    def check(self, step: int) -> dict[str, float]:
        """Give the mean of each loss since the last row.

        Raises:
            RunError: one is NaN or infinite.
        """
        means = {name: float(total) / self._counts[name] for name, total in self._sums.items()}
        for name, mean in means.items():
            if not math.isfinite(mean):
                raise RunError(f"Stage {self.stage} at step {step}: loss {name} is {mean}, which is not a number; lower"
                               f" stages.{self.stage}.optim.lr, or look for broken rows with omnikit check --deep.")
        return means

    def write(self, step: int, lr: float) -> None:
        """Append a row: step, lr, the mean of each loss since the last row, seconds since the start.

        Raises:
            RunError: a loss is NaN or infinite, so what was trained since is lost; or the file cannot be written.
        """
        means = self.check(step)
        self._sums, self._counts = {}, dict.fromkeys(self.names, 0)
        self.step = step
        self.last.update(means)
        fresh = not self.path.exists() or not self.path.stat().st_size
        with disk_errors(self.path), self.path.open("a", newline="") as file:
            rows = csv.writer(file)
            if fresh:
                rows.writerow(["step", "lr", *[f"loss.{name}" for name in self.names], "seconds"])
            numbers = [f"{means[name]:.6g}" if name in means else "" for name in self.names]
            rows.writerow([step, f"{lr:.6g}", *numbers, f"{time.monotonic() - self._start:.1f}"])

    def state_dict(self) -> dict[str, Any]:
        """Give what is summed up since the last row, and the length of the file."""
        return {"step": self.step, "last": dict(self.last), "sums": dict(self._sums), "counts": dict(self._counts),
                "seconds": time.monotonic() - self._start, "size": self.path.stat().st_size if self.path.exists() else 0}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave, and cut the file's later rows off.

        Raises:
            RunError: the file lacks rows, or cannot be written.
        """
        self.step, self.last, self._sums, self._counts = state["step"], state["last"], state["sums"], state["counts"]
        self._start = time.monotonic() - state["seconds"]
        found = self.path.stat().st_size if self.path.exists() else 0
        if found < state["size"]:
            raise RunError(f"{self.path} has {found} bytes, but {state['size']} were written before the checkpoint of step"
                           f" {self.step}; begin the stage from scratch with --restart.")
        if found:
            with disk_errors(self.path):
                os.truncate(self.path, state["size"])
