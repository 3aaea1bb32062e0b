"""Features on their way into the backbone and to the heads: picked, pooled, cast, and held against their contracts.

Knows no plan and no module but by what is handed in.
"""

from __future__ import annotations

from collections.abc import Collection
from math import isqrt

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from omnikit.contracts.types import Batch, Features
from omnikit.errors import DataError


def as_dtype_of(module: nn.Module, features: Features) -> Features:
    """Give features in the dtype of a module's weights; unchanged for a module without floating-point weights."""
    dtype = next((each.dtype for each in module.parameters() if each.is_floating_point()), features.data.dtype)
    return features if features.data.dtype == dtype else Features(features.data.to(dtype), features.lengths, features.rate)


def at(values: Tensor, places: Tensor, conversation_rows: Tensor | None) -> Tensor:
    """Pick values [B, L, …] at places [C, U] of the rows `homes` [C], by default each row of its own, giving [C, U, …]."""
    rows = torch.arange(len(places), device=places.device) if conversation_rows is None else conversation_rows
    return values[rows[:, None], places]


def pooled(vectors: Tensor, count: int) -> Tensor:
    """Pool the vectors of square images [B, T, D] to `count` of each [B, count, D], both squares, row by row: bilinear."""
    side, new = isqrt(vectors.shape[1]), isqrt(count)
    if side == new:
        return vectors
    grid = vectors.transpose(1, 2).reshape(*vectors.shape[::2], side, side)  # [B, D, side, side]
    return interpolate(grid, size=(new, new), mode="bilinear", align_corners=False).flatten(2).transpose(1, 2)


def check_counts(branch: str, features: Features, batch: Batch, pools: Collection[int]) -> None:
    """Compare the vectors that came with the vectors that the contract promised; a count in `pools` is made of more.

    On an accelerator the lengths cannot be read without waiting for it, so there only the padded shape is compared.
    """
    expected = batch.counts[branch]
    found = features.lengths.tolist() if features.lengths.device.type == "cpu" else []
    for index, (row, count) in enumerate(zip(batch.rows[branch], expected, strict=True)):
        if index < len(found) and found[index] != count and not (count in pools and found[index] > count):
            raise DataError(f"Row {batch.ids[row]}: branch {branch} gives {found[index]} vectors, but its contract says"
                            f" {count}; mend `length` of its encoder or projector.")
    if features.data.shape[0] != len(expected) or features.data.shape[1] < max(expected):
        raise DataError(f"Branch {branch} gives vectors of shape {tuple(features.data.shape)}, but its contract says"
                        f" {len(expected)} signals of up to {max(expected)} vectors in rows {', '.join(batch.ids)}.")
