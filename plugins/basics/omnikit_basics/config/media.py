"""The settings and contracts of projectors that join all tiles of an image or all frames of a video. Imports no torch."""

import math
from dataclasses import dataclass, replace
from math import isqrt
from typing import TYPE_CHECKING

from omnikit.contracts.footprint import Footprint, linear
from omnikit.contracts.media import Medium
from omnikit.contracts.specs import FeatureSpec
from omnikit_basics import footprints
from omnikit_basics.config.limits import at_least, dividing, fraction
from omnikit_basics.config.projectors import Activation

if TYPE_CHECKING:
    from omnikit_basics.anyres import AnyresProjector
    from omnikit_basics.video import SpatiotemporalPoolProjector, VideoQFormerProjector

SHRINKS = 1.1  # ratio of sides from which a grid is shrunk


@dataclass(frozen=True)
class AnyresMlp:
    """Two Linears for each patch, then an image's tiles as one grid of patches with a learned vector behind each row.

    Patches of padding alone are left out; those of the thumbnail, where there is one, stand before the grid.
    Of an image that is not cut, and of a video, all patches come in turn, and one learned vector behind them.
    Source: LLaVA-NeXT; LLaVA-OneVision, arXiv:2408.03326.

    Args:
        hidden: width between the Linears; 0: as wide as the backbone.
        most_tiles: tiles whose patches are kept; a larger grid is interpolated (LLaVA-OneVision: 9). 0: all.
        video_stride: by which the sides of a video's frames shrink, rounded up, interpolated (LLaVA-OneVision: 2).
    """

    hidden: int = 0
    activation: Activation = "gelu"
    most_tiles: int = 0
    video_stride: int = 1

    def __post_init__(self) -> None:
        at_least(0, hidden=self.hidden, most_tiles=self.most_tiles)
        at_least(1, video_stride=self.video_stride)

    def output(self, source: FeatureSpec, dim: int) -> FeatureSpec:
        if source.count is None or isqrt(source.count) ** 2 != source.count:
            raise ValueError(f"it takes the patches of square tiles, but the encoder gives {source}; choose an encoder of"
                             " images without a class token")
        return FeatureSpec(dim, count=self.length(source.count), lookahead=math.inf)

    def length(self, count: int) -> int:
        return count + 1

    def medium_length(self, medium: Medium, count: int) -> int:
        """Give the vectors of a medium, `count` patches of each tile or frame."""
        if medium.type == "video":
            return medium.signals * frame_side(count, self.video_stride) ** 2 + 1
        if medium.signals == 1:
            return count + 1
        rows, columns = shrunk(unpadded_grid(medium, count), self.most_tiles * count)
        return rows * (columns + 1) + (0 if medium.thumbnail is None else count)

    def footprint(self, source: FeatureSpec, dim: int) -> Footprint:
        """Give how large it is."""
        found = footprints.pointwise((source.dim, self.hidden or dim, dim))
        return replace(found, parameters=found.parameters + dim)

    def build(self, source: FeatureSpec, dim: int) -> "AnyresProjector":
        from omnikit_basics.anyres import AnyresProjector

        return AnyresProjector(self, source.dim, dim)


def frame_side(count: int, stride: int) -> int:
    """Give the side of a video's frames of `count` patches."""
    return -(-isqrt(count) // stride)


def unpadded_grid(medium: Medium, count: int) -> tuple[int, int]:
    """Give rows and columns of patches that stay of an image's grid without its padding, `count` of each tile."""
    columns, rows = (tiles * isqrt(count) for tiles in medium.grid)
    if not medium.padded:
        return rows, columns
    width, height = medium.size
    if width / height > columns / rows:
        return rows - 2 * ((rows - int(round(height * (columns / width), 7))) // 2), columns
    return rows, columns - 2 * ((columns - int(round(width * (rows / height), 7))) // 2)


def shrunk(grid: tuple[int, int], most: int) -> tuple[int, int]:
    """Give rows and columns of a grid that is interpolated to about `most` patches where it has clearly more; 0: as it is."""
    ratio = math.sqrt(grid[0] * grid[1] / most) if most else 0.0
    return (int(grid[0] // ratio), int(grid[1] // ratio)) if ratio > SHRINKS else grid


@dataclass(frozen=True)
class SpatiotemporalPool:
    """Of a video the mean vector of each frame, then the mean over all frames of each patch, and a Linear.

    An image is a video of one frame. Source: Video-ChatGPT, arXiv:2306.05424.
    """

    def output(self, source: FeatureSpec, dim: int) -> FeatureSpec:
        if source.count is None:
            raise ValueError(f"it pools the frames of a video, but the encoder gives {source}; choose an encoder of images")
        return FeatureSpec(dim, count=self.length(source.count), lookahead=math.inf)

    def length(self, count: int) -> int:
        return 1 + count

    def medium_length(self, medium: Medium, count: int) -> int:
        """Give the vectors of a medium, `count` patches of each frame."""
        return medium.signals + count

    def footprint(self, source: FeatureSpec, dim: int) -> Footprint:
        """Give how large it is."""
        return footprints.pointwise((source.dim, dim))

    def build(self, source: FeatureSpec, dim: int) -> "SpatiotemporalPoolProjector":
        from omnikit_basics.video import SpatiotemporalPoolProjector

        return SpatiotemporalPoolProjector(source.dim, dim)


@dataclass(frozen=True)
class VideoQFormer:
    """Queries for each frame, a learned position of the frame added to what they give, then queries for all frames, a Linear.

    Both are Q-Formers in BERT's layout. Source: Video-LLaMA, arXiv:2306.02858.

    Args:
        frame_queries: embeddings per frame.
        queries: embeddings per video.
        layers: of the Q-Former of frames.
        video_layers: of that of the video, each with cross-attention.
        cross_every: of the frames', cross-attention stands in the first of every so many layers.
        frames: positions that there are; a video has at most so many frames.
    """

    frame_queries: int = 32
    queries: int = 32
    dim: int = 128
    layers: int = 2
    video_layers: int = 2
    heads: int = 4
    ffn: int = 512
    cross_every: int = 2
    frames: int = 32
    dropout: float = 0.0

    def __post_init__(self) -> None:
        at_least(1, frame_queries=self.frame_queries, queries=self.queries, dim=self.dim, layers=self.layers, heads=self.heads,
                 video_layers=self.video_layers, ffn=self.ffn, cross_every=self.cross_every, frames=self.frames)
        dividing("heads", self.heads, "dim", self.dim)
        fraction("dropout", self.dropout)

    def output(self, source: FeatureSpec, dim: int) -> FeatureSpec:
        if source.count is None:
            raise ValueError(f"it joins the frames of a video, but the encoder gives {source}; choose an encoder of images")
        return FeatureSpec(dim, count=self.queries, lookahead=math.inf)

    def length(self, count: int) -> int:
        return self.queries

    def medium_length(self, medium: Medium, count: int) -> int:
        """Give the vectors of a medium; raises ValueError where it has more frames than positions."""
        if medium.signals > self.frames:
            raise ValueError(f"it has {medium.signals} frames, but the projector has positions for {self.frames}; raise its"
                             " frames, or lower the encoder's most_frames")
        return self.queries

    def footprint(self, source: FeatureSpec, dim: int) -> Footprint:
        """Give how large it is."""
        sizes = {"dim": self.dim, "ffn": self.ffn}
        frames = footprints.qformer(source.dim, dim, self.frame_queries, layers=self.layers,
                                    crossing=-(-self.layers // self.cross_every), **sizes)
        video = footprints.qformer(self.dim, dim, self.queries, layers=self.video_layers, crossing=self.video_layers, **sizes)
        only_once = linear(self.dim, dim) - self.frames * self.dim  # the Linear is the video's alone, the positions are added
        return replace(frames, parameters=frames.parameters + video.parameters - only_once,
                       matrices=(*frames.matrices, *video.matrices))

    def build(self, source: FeatureSpec, dim: int) -> "VideoQFormerProjector":
        from omnikit_basics.video import VideoQFormerProjector

        return VideoQFormerProjector(self, source.dim, dim)
