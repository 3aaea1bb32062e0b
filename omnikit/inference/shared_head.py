"""A head's answers that are spoken at the same time: one step of the head for all that have new hidden states."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import pad

from omnikit.contracts.codes import Code
from omnikit.contracts.streaming import HeadRows
from omnikit.contracts.types import Features
from omnikit.inference.row_numbers import RowNumber, RowNumbers, ascending

HeadCodes = tuple[list[Code], list[int] | None]  # and of each the position of the state it came from, where that is known


class SharedHead:
    """Owns the rows of a head.

    Args:
        rows: without an answer in it.
    """

    def __init__(self, rows: HeadRows) -> None:
        self._rows, self._numbers = rows, RowNumbers()

    def add(self) -> RowNumber:
        """Give the row of a new answer."""
        return self._numbers.add(self._rows.add())

    def remove(self, row: RowNumber) -> None:
        """Free an answer's row."""
        self._rows.remove(row.index)
        self._numbers.remove(row)

    def step(self, features: Sequence[Features], rows: Sequence[RowNumber]) -> list[HeadCodes]:
        """New features [1, N, D] of each of some answers; gives each one's new codes."""
        order = ascending(rows)
        longest = max(each.data.shape[1] for each in features)
        data = torch.cat([pad(features[at].data, (0, 0, 0, longest - features[at].data.shape[1])) for at in order])
        lengths = torch.tensor([features[at].data.shape[1] for at in order])  # on the host, where they are read
        found = dict(zip(order, self._rows.step(Features(data, lengths), [rows[at].index for at in order]), strict=True))
        return [found[at] for at in range(len(rows))]
