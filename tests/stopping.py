"""A stage that is stopped on the way, and what it gives in the end."""

import csv
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from torch import Tensor

from omnikit.store import checkpoint
from omnikit.store.runs import METRICS, WEIGHTS
from omnikit.training.module import Training
from omnikit.training.monitoring.metrics import VOLATILE

Stop = Callable[[], None]


class Killed(BaseException):
    """Nothing is saved after it, as after a SIGKILL."""


def kill() -> None:
    """End training as a SIGKILL would, but for this process."""
    raise Killed


def crash() -> None:
    """Raise what no code expects."""
    raise RuntimeError("crash")


def send(number: signal.Signals) -> Stop:
    """Give what sends this process a signal."""
    return lambda: os.kill(os.getpid(), number)


@contextmanager
def stopping(step: int, stop: Stop) -> Iterator[None]:
    """Stop training in the first batch after so many steps."""
    original = Training.training_step

    def training_step(self: Training, batch: object, index: int) -> Tensor | None:
        if self.step == step:
            stop()
        return original(self, batch, index)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Training, "training_step", training_step)
        yield


def outcome(folder: Path, stage: str) -> tuple[dict[str, str], list[dict[str, str]]]:
    """Give the hashes of a stage's weights, and its metrics without what differs from one training to the next."""
    with (folder / stage / METRICS).open(newline="") as file:
        rows = [{name: value for name, value in row.items() if name not in VOLATILE} for row in csv.DictReader(file)]
    return checkpoint.hashes(folder / stage / WEIGHTS)[0], rows
