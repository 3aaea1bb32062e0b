"""Projectors that join neighbours in time or in an image's grid. Use no encoder and no backbone."""

from math import isqrt

import torch
from torch import Tensor, nn

from omnikit.contracts.types import Features
from omnikit_basics.config.windows import AveragePool, PixelShuffleMlp
from omnikit_basics.projectors import PointwiseProjector


class AveragePoolProjector(nn.Module):
    """Means of runs of vectors [B, T, D], a norm where it has one, and a Linear to [B, T / stride, D']."""

    def __init__(self, config: AveragePool, source: int, dim: int) -> None:
        super().__init__()
        self.stride = config.stride
        self.norm = nn.LayerNorm(source) if config.norm else nn.Identity()
        self.linear = nn.Linear(source, dim)

    def forward(self, features: Features) -> Features:
        runs = features.data.shape[1] // self.stride
        data = features.data[:, :runs * self.stride]
        means = data.reshape(len(data), runs, self.stride, data.shape[2]).mean(2)  # [B, T / stride, D]
        rate = None if features.rate is None else features.rate / self.stride
        return Features(self.linear(self.norm(means)), features.lengths // self.stride, rate)


class PixelShuffleProjector(nn.Module):
    """Squares of neighbours in grids [B, T, D] joined, and Linears to [B, T / factor², D']."""

    def __init__(self, config: PixelShuffleMlp, source: int, dim: int) -> None:
        super().__init__()
        self.config = config
        self.project = PointwiseProjector(config.widths(source, dim), config.activation, norm=config.norm, bias=config.bias)

    def forward(self, features: Features) -> Features:
        counts = features.lengths.tolist()
        lengths = [self.config.length(count) for count in counts]
        joined = features.data.new_zeros(len(counts), max(lengths), features.data.shape[2] * self.config.factor**2)
        for count in set(counts):  # videos may have frames of two sizes
            rows = [row for row, other in enumerate(counts) if other == count]
            found = shuffled(features.data[rows, :count], self.config.factor)
            joined[rows, :found.shape[1]] = found
        projected: Features = self.project(Features(joined, torch.tensor(lengths, device=joined.device), features.rate))
        return projected


def shuffled(data: Tensor, factor: int) -> Tensor:
    """Grids [B, H * H, D], row by row, to [B, (H // factor) ** 2, factor * factor * D]; of a square its rows come in turn."""
    batch, count, dim = data.shape
    side = isqrt(count)
    less = side // factor
    grid = data.reshape(batch, side, side, dim)[:, :less * factor, :less * factor]
    squares = grid.reshape(batch, less, factor, less, factor, dim).transpose(2, 3)  # [B, less, less, factor, factor, D]
    return squares.reshape(batch, less * less, factor * factor * dim)
