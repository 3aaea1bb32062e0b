"""A query resampler: learned queries that attend to features with fixed positions. Uses no encoder and no backbone."""

from math import isqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omnikit.contracts.types import Features
from omnikit_basics.config.resamplers import Positions, QueryResampler
from omnikit_basics.projectors import valid_vectors

STD = 0.02  # of fresh queries, Qwen-VL's
BASE = 10000.0  # of the sines' wavelengths


class QueryResamplerProjector(nn.Module):
    """Queries [N, width] through the layers, norm and Linear: N vectors per row, as wide as the backbone."""

    def __init__(self, config: QueryResampler, source: int, dim: int) -> None:
        super().__init__()
        self.positions: Positions = config.positions
        width = config.width(dim)
        self.query = nn.Parameter(torch.empty(config.queries, width).normal_(std=STD))
        self.kv_proj = nn.Linear(source, width, bias=False)
        self.ln_kv = nn.LayerNorm(width)
        self.layers = nn.ModuleList(QueryLayer(config, width) for _ in range(config.layers))
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Linear(width, dim)

    def forward(self, features: Features) -> Features:
        lengths = features.lengths.clamp(min=1)  # a row without vectors attends to its padding: else NaN
        valid = valid_vectors(lengths, features.data.shape[1])
        values = self.ln_kv(self.kv_proj(features.data))  # [B, T, width]
        x = self.query.to(values.dtype).expand(len(valid), -1, -1)
        count, width = self.query.shape
        positions = (torch.zeros_like(values[0, :1]), torch.zeros_like(values))
        if self.positions != "none":
            rows = torch.stack([self._padded(length, values) for length in lengths.tolist()])
            positions = (self._table(count, width, values), rows)
        for layer in self.layers:
            x = layer(x, values, positions, valid)
        return Features(self.proj(self.ln_post(x)), torch.full_like(lengths, count), None)

    def _padded(self, length: int, values: Tensor) -> Tensor:
        """Give the positions [T, width] of a row of `length` vectors."""
        table = self._table(length, values.shape[2], values)
        return F.pad(table, (0, 0, 0, values.shape[1] - len(table)))

    def _table(self, count: int, width: int, like: Tensor) -> Tensor:
        if self.positions == "1d":
            return sines(torch.arange(count, device=like.device), width).to(like.dtype)
        return resized(grid_sines(isqrt(len(self.query)), width, like.device), isqrt(count)).to(like.dtype)


class QueryLayer(nn.Module):
    """Attention of the queries to the features (and the queries), and a feed-forward where it has a width."""

    def __init__(self, config: QueryResampler, width: int) -> None:
        super().__init__()
        self.residual, self.with_queries = config.residual, config.with_queries
        self.ln_q = nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, config.heads, batch_first=True)
        self.ffn = None if not config.ffn else nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, config.ffn), nn.GELU(), nn.Linear(config.ffn, width))

    def forward(self, x: Tensor, values: Tensor, positions: tuple[Tensor, Tensor], valid: Tensor) -> Tensor:
        """x [B, N, width], values [B, T, width], positions [N, width] and [B, T, width], valid [B, T] True = attended to."""
        queries, keys = self.ln_q(x), values + positions[1]
        asked = queries + positions[0]
        if self.with_queries:
            keys, values = torch.cat([keys, asked], dim=1), torch.cat([values, queries], dim=1)
            valid = torch.cat([valid, valid.new_ones(x.shape[:2])], dim=1)
        y = self.attn(asked, keys, values, key_padding_mask=~valid, need_weights=False)[0]
        x = x + y if self.residual else y
        return x if self.ffn is None else x + self.ffn(x)


def sines(positions: Tensor, width: int) -> Tensor:
    """Give [N, width] of positions [N]: sines in the first half, cosines in the second, of ever longer wavelengths."""
    frequencies = BASE ** -(torch.arange(width // 2, device=positions.device, dtype=torch.float32) / (width / 2))
    angles = positions.float()[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def grid_sines(side: int, width: int, device: torch.device) -> Tensor:
    """Give [side * side, width] of a grid, row by row: the column's sines in the first half, the row's in the second."""
    one = sines(torch.arange(side, device=device), width // 2)
    return torch.cat([one.repeat(side, 1), one.repeat_interleave(side, 0)], dim=1)


def resized(table: Tensor, side: int) -> Tensor:
    """Give a grid's positions [N, width] for a grid of another side, by bicubic interpolation."""
    own = isqrt(len(table))
    if own == side:
        return table
    grid = table.T.reshape(1, table.shape[1], own, own)
    return F.interpolate(grid, size=(side, side), mode="bicubic", align_corners=False).flatten(2)[0].T
