"""Cells of codes [..., Q] at each step of a pattern: from targets, and to vectors.

Each codebook has V codes; V is the end, which only the first codebook gives, and V + 1 an empty cell.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnikit.contracts.types import Targets
from omnikit_codes.patterns import Pattern

PADDING = -100  # of targets


def arrange(targets: Targets, pattern: Pattern, end: int) -> Tensor:
    """Codes [B, U, Q] to the cells of each step [B, S, Q], each row's end in its place; PADDING where a cell is empty."""
    ids, (batch, count, books) = targets.ids, targets.ids.shape
    beyond = torch.arange(count, device=ids.device) >= targets.lengths[:, None]  # [B, U]
    frames = torch.cat([ids.masked_fill(beyond[..., None], PADDING), ids.new_full((batch, 1, books), PADDING)], 1)
    frames[:, :, 0] = frames[:, :, 0].scatter(1, targets.lengths[:, None], end)
    cells = ids.new_full((batch, pattern.steps(count), books), PADDING)
    for book in range(books):
        steps = [pattern.step(frame, book) for frame in range(count + (book == 0))]
        cells[:, steps, book] = frames[:, :len(steps), book]
    return cells


def codebook_logits(logits: Tensor, book: int, cardinality: int) -> Tensor:
    """Give a codebook's logits [..., V] of all [..., Q x V + 1], or [..., V + 1] with the end of the first one."""
    own = logits[..., book * cardinality:(book + 1) * cardinality]
    return torch.cat([own, logits[..., -1:]], -1) if book == 0 else own


def sum_losses(logits: Tensor, cells: Tensor, cardinality: int) -> Tensor:
    """Logits [B, S, Q x V + 1] and the cells [B, S, Q] that they give (PADDING: none) to the sum of cross-entropies."""
    logits = logits.float()
    found = [F.cross_entropy(codebook_logits(logits, book, cardinality).flatten(0, 1), cells[..., book].flatten(),
                             ignore_index=PADDING, reduction="sum") for book in range(cells.shape[-1])]
    return torch.stack(found).sum()


class CellEmbedding(nn.Embedding):
    """A table for the codes, the end and the empty cell of each codebook."""

    def __init__(self, codebooks: int, cardinality: int, dim: int) -> None:
        super().__init__(codebooks * (cardinality + 2), dim)
        self.rows = cardinality + 2  # of a codebook

    def sums(self, cells: Tensor) -> Tensor:
        """Cells [..., Q], empty where PADDING, to the sums of their embeddings [..., dim]."""
        return self.of_each(cells.masked_fill(cells == PADDING, self.rows - 1)).sum(-2)

    def of_each(self, codes: Tensor, first: int = 0) -> Tensor:
        """Codes [..., N] of N codebooks, from `first` on, to their embeddings [..., N, dim]."""
        books = torch.arange(first, first + codes.shape[-1], device=codes.device)
        result: Tensor = self(codes + books * self.rows)
        return result
