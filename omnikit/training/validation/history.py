"""What a stage reached on held-out rows so far: validation.csv, the best step, and whether it is over. Measures nothing."""

import csv
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omnikit.errors import RunError
from omnikit.recipe.validation_settings import TOTAL, Validate
from omnikit.store.files import disk_errors

FILE = "validation.csv"
Means = dict[str, float]  # loss.text, accuracy.text


class ValidationHistory:
    """validation.csv, the best step so far, and how long ago it was.

    Args:
        weights: of the losses in their total.
        writes: whether the file is written; of several processes one writes it.
    """

    def __init__(self, path: Path, settings: Validate, weights: Mapping[str, float], *, writes: bool = True) -> None:
        self.path, self.settings, self.weights, self.writes = path, settings, weights, writes
        self.step, self.best_step = 0, 0  # of the last validation, of the best one
        self.best, self.reference, self.waited = math.inf, math.inf, 0
        self.last: Means = {}

    @property
    def is_over(self) -> bool:
        """Whether the loss has not fallen for as long as the stage has patience."""
        patience = self.settings.early_stop.patience
        return patience is not None and self.waited >= patience

    def add(self, step: int, found: Mapping[str, Means], seconds: float) -> bool:
        """Write a row; gives whether this step is the best so far.

        Raises:
            RunError: the loss that is compared is of none of the rows, or not a number; or the file cannot be written.
        """
        means = self._mean(found)
        value = means.get(f"loss.{self.settings.monitored}", math.nan)
        if self.settings.decides and not math.isfinite(value):
            raise RunError(f"The validation of step {step} gives {value:g} for loss.{self.settings.monitored}; look at the rows"
                           f" of {', '.join(found)}, or take another loss.")
        if self.writes:
            self._write(step, found, means, seconds)
        self.step, self.last = step, means
        improved = value < self.best
        if improved:
            self.best, self.best_step = value, step
        lower = value < self.reference - self.settings.early_stop.min_delta
        self.reference, self.waited = (value, 0) if lower else (self.reference, self.waited + 1)
        return improved

    def numbers(self) -> Means:
        """Give what the table of stages shows."""
        chosen = {"best step": float(self.best_step)} if self.settings.keep_best else {}
        return {f"held-out {name.removeprefix('loss.')}": value for name, value in self.last.items()} | chosen

    def state_dict(self) -> dict[str, Any]:
        """Give it for a checkpoint."""
        size = self.path.stat().st_size if self.path.exists() else 0
        return {"step": self.step, "best_step": self.best_step, "best": self.best, "reference": self.reference,
                "waited": self.waited, "last": self.last, "size": size}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take it back; later rows of the file are cut off."""
        self.step, self.best_step, self.best = state["step"], state["best_step"], state["best"]
        self.reference, self.waited, self.last = state["reference"], state["waited"], state["last"]
        if self.writes and self.path.exists():
            with disk_errors(self.path):
                os.truncate(self.path, state["size"])

    def _mean(self, found: Mapping[str, Means]) -> Means:
        """Give the mean of each number over the datasets that have it, by their weights, and the total of the losses."""
        means = {}
        for name in dict.fromkeys(key for one in found.values() for key in one):
            weights = {dataset: self.settings.data[dataset] for dataset, one in found.items() if name in one}
            means[name] = sum(found[key][name] * weight for key, weight in weights.items()) / sum(weights.values())
        losses = [self.weights[name] * means[f"loss.{name}"] for name in self.weights if f"loss.{name}" in means]
        return means | ({f"loss.{TOTAL}": sum(losses)} if losses else {})

    def _write(self, step: int, found: Mapping[str, Means], means: Means, seconds: float) -> None:
        several = found if len(found) > 1 else {}
        row = means | {f"{name}.{dataset}": value for dataset, one in several.items() for name, value in one.items()}
        fresh = not self.path.exists() or not self.path.stat().st_size
        with disk_errors(self.path), self.path.open("a", newline="") as file:
            rows = csv.writer(file)
            if fresh:
                rows.writerow(["step", *row, "seconds"])
            rows.writerow([step, *[f"{value:.6g}" for value in row.values()], f"{seconds:.1f}"])
