"""What the scheduler needs of the memory in which running answers' keys and values lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from torch import Tensor

from omnikit.contracts.streaming import SavedPositions

Row = TypeVar("Row")


class Rows(Protocol[Row]):
    """The rows of one backbone."""

    def open(self) -> Row: ...
    def length(self, row: Row) -> int: ...
    def load(self, row: Row, saved: SavedPositions, length: int) -> None: ...
    def save(self, row: Row) -> SavedPositions | None: ...
    def prefill(self, row: Row, inputs: Tensor) -> Tensor: ...
    def step(self, rows: Sequence[Row], inputs: Tensor) -> Tensor: ...
    def close(self, row: Row) -> None: ...
