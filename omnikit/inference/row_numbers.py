"""Numbers of rows that stand one behind another without a gap: when one leaves, the last one gets its number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(eq=False)
class RowNumber:
    """The number of an answer's row, which changes when another one leaves."""

    index: int


class RowNumbers:
    """Owns the numbers of all rows."""

    def __init__(self) -> None:
        self._rows: list[RowNumber] = []

    def add(self, index: int) -> RowNumber:
        """Number a new row, the last one."""
        self._rows.append(RowNumber(index))
        return self._rows[-1]

    def remove(self, row: RowNumber) -> None:
        """Give the row's number to the last one."""
        last = self._rows.pop()
        if last is not row:
            self._rows[row.index] = last
            last.index = row.index


def ascending(rows: Sequence[RowNumber]) -> list[int]:
    """Give the positions of some rows in a sequence, by their numbers."""
    return sorted(range(len(rows)), key=lambda position: rows[position].index)
