"""Lists of ids and positions as tensors. Uses numpy: torch takes five times as long to read a list."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def pad(rows: Sequence[Sequence[int]], filler: int) -> Tensor:
    """Give [B, longest] int64, filled on the right."""
    padded = np.full((len(rows), max((len(row) for row in rows), default=0)), filler, dtype=np.int64)
    for line, row in zip(padded, rows, strict=True):
        line[:len(row)] = row
    return torch.from_numpy(padded)


def joined_slots(rows: Sequence[Sequence[int]], length: int) -> Tensor:
    """Give positions in rows as positions in all rows of a length, one row behind another, [S]."""
    return torch.from_numpy(np.concatenate([np.array(row, dtype=np.int64) + index * length for index, row in enumerate(rows)]))
