"""Tiles of an image joined to one grid of patches, with a learned vector behind each row. Uses no encoder and no backbone."""

from collections.abc import Sequence
from math import isqrt

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.nn.utils.rnn import pad_sequence

from omnikit.contracts.media import Medium
from omnikit.contracts.types import Features
from omnikit_basics.config.media import AnyresMlp, frame_side, shrunk, unpadded_grid
from omnikit_basics.projectors import PointwiseProjector


class AnyresProjector(nn.Module):
    """Patches [B', P, source] of tiles to vectors [M, T, D] of media; `newline` is as PyTorch's fresh embeddings, scaled."""

    def __init__(self, config: AnyresMlp, source: int, dim: int) -> None:
        super().__init__()
        self.config = config
        self.project = PointwiseProjector((source, config.hidden or dim, dim), config.activation)
        self.newline = nn.Parameter(torch.randn(dim) / dim**0.5)

    def forward(self, features: Features, *, media: Sequence[Medium]) -> Features:
        vectors: Tensor = self.project(features).data
        rows = [self._joined(medium, tiles) for medium, tiles in
                zip(media, torch.split(vectors, [medium.signals for medium in media]), strict=True)]
        lengths = torch.tensor([len(row) for row in rows]).to(vectors.device, non_blocking=True)
        return Features(pad_sequence(rows, batch_first=True), lengths)

    def _joined(self, medium: Medium, tiles: Tensor) -> Tensor:
        """Give the vectors [T, D] of one medium, whose tiles or frames are [S, P, D]."""
        newline = self.newline.to(tiles.dtype)
        if medium.type == "video":
            return torch.cat([self._frames(tiles).flatten(0, 1), newline[None]])
        if medium.signals == 1:
            return torch.cat([tiles.flatten(0, 1), newline[None]])
        columns, rows = medium.grid
        side, number = isqrt(tiles.shape[1]), medium.thumbnail
        whole, cut = tiles[:0], tiles
        if number is not None:
            whole, cut = tiles[number:number + 1], torch.cat([tiles[:number], tiles[number + 1:]])
        grid = cut.view(rows, columns, side, side, -1).transpose(1, 2).reshape(rows * side, columns * side, -1)
        grid = self._shrunk(without_padding(grid, medium, tiles.shape[1]), tiles.shape[1])
        lines = torch.cat([grid, newline.expand(len(grid), 1, -1)], dim=1)
        return torch.cat([whole.flatten(0, 1), lines.flatten(0, 1)])

    def _shrunk(self, grid: Tensor, count: int) -> Tensor:
        """Interpolate a grid [H, W, D] with too many patches."""
        size = shrunk((grid.shape[0], grid.shape[1]), self.config.most_tiles * count)
        return grid if size == (grid.shape[0], grid.shape[1]) else resized(grid[None], size)[0]

    def _frames(self, frames: Tensor) -> Tensor:
        """Interpolate the patches [S, P, D] of a video's frames."""
        if self.config.video_stride == 1:
            return frames
        side, new = isqrt(frames.shape[1]), frame_side(frames.shape[1], self.config.video_stride)
        return resized(frames.view(len(frames), side, side, -1), (new, new)).flatten(1, 2)


def without_padding(grid: Tensor, medium: Medium, count: int) -> Tensor:
    """Give the patches of a grid [H, W, D] that are not padding alone, of tiles of `count`."""
    rows, columns = unpadded_grid(medium, count)
    top, left = (grid.shape[0] - rows) // 2, (grid.shape[1] - columns) // 2
    return grid[top:top + rows, left:left + columns]


def resized(grids: Tensor, size: tuple[int, int]) -> Tensor:
    """Interpolate grids [B, H, W, D] to [B, *size, D], bilinear."""
    return interpolate(grids.permute(0, 3, 1, 2), size=size, mode="bilinear").permute(0, 2, 3, 1)
