"""Keys and values of running answers, each in a state of its own: for any backbone, one row after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from omnikit.contracts.layout import InputLayout
from omnikit.contracts.protocols import Backbone, LayoutBackbone
from omnikit.contracts.streaming import SavedPositions


class SeparateRow:
    """The state of one answer and the positions that it holds."""

    def __init__(self, state: object) -> None:
        self.state, self.length = state, 0


class SeparateRows:
    """Steps a backbone for one row after another, by its `step`; earlier turns are not reused."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone

    def open(self) -> SeparateRow:
        """Give an empty row."""
        return SeparateRow(self._backbone.init_state(1))

    def set_layout(self, row: SeparateRow, layout: InputLayout) -> None:
        """Take the layout of the prompt that an empty row reads next, as a whole."""
        row.state = cast(LayoutBackbone, self._backbone).init_state(1, layout)

    def length(self, row: SeparateRow) -> int:
        """Give the positions that a row holds."""
        return row.length

    def load(self, row: SeparateRow, saved: SavedPositions, length: int) -> None:
        """Never called, since `save` gives nothing."""
        raise AssertionError("a state cannot be filled with saved positions")

    def save(self, row: SeparateRow) -> None:
        """Give nothing: a state cannot be cut."""

    def prefill(self, row: SeparateRow, inputs: Tensor) -> Tensor:
        """Read the next positions [N, D] of a row's prompt; gives their hidden states [N, D]."""
        row.length += len(inputs)
        mask = torch.ones(1, row.length, dtype=torch.bool, device=inputs.device)
        hidden, row.state = self._backbone.step(inputs[None], mask, row.state)
        return hidden[0]

    def step(self, rows: Sequence[SeparateRow], inputs: Tensor) -> Tensor:
        """Read one position of each row, inputs [B, D]; gives hidden states [B, D]."""
        return torch.cat([self.prefill(row, each[None]) for row, each in zip(rows, inputs, strict=True)])

    def close(self, row: SeparateRow) -> None:
        """Free what a row holds."""
        row.state = None
