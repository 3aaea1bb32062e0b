"""The settings and contracts of projectors that shorten a sequence or a grid window by window. Imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import isqrt
from typing import TYPE_CHECKING, Literal

from omnikit.contracts.footprint import Footprint
from omnikit.contracts.specs import FeatureSpec
from omnikit_basics import footprints
from omnikit_basics.config.limits import at_least, dividing, fraction
from omnikit_basics.config.projectors import MOST_LAYERS, Activation

if TYPE_CHECKING:
    from omnikit_basics.pooling import AveragePoolProjector, PixelShuffleProjector
    from omnikit_basics.window_qformer import WindowQFormerProjector


@dataclass(frozen=True)
class WindowQFormer:
    """Learned queries through layers of BERT for each window of frames, and a Linear: the sequence keeps its order.

    Of several encoders, frames are joined channel by channel, the shorter sequence padded with zeros. Parameters have the
    names of transformers' GraniteSpeechEncoderProjector. Source: SALMONN, arXiv:2310.13289; Granite-speech, arXiv:2505.08699.

    Args:
        window: frames of a window; windows do not overlap.
        queries: embeddings per window.
        tail: what becomes of the last frames that are fewer than a window: padded with zeros, or dropped.
        norm: LayerNorm of each encoder's features first, as SALMONN has it.
        cross_every: cross-attention stands in the first of every so many layers.
    """

    window: int = 15
    queries: int = 3
    dim: int = 128
    layers: int = 2
    heads: int = 4
    ffn: int = 512
    cross_every: int = 1
    dropout: float = 0.0
    tail: Literal["drop", "pad"] = "pad"
    norm: bool = False

    def __post_init__(self) -> None:
        at_least(1, window=self.window, queries=self.queries, dim=self.dim, layers=self.layers, heads=self.heads,
                 ffn=self.ffn, cross_every=self.cross_every)
        dividing("heads", self.heads, "dim", self.dim)
        fraction("dropout", self.dropout)

    def output(self, source: FeatureSpec, dim: int) -> FeatureSpec:
        return self.fused_output([source], dim)

    def length(self, count: int) -> int:
        return self.queries * (count // self.window if self.tail == "drop" else -(-count // self.window))

    def footprint(self, source: FeatureSpec, dim: int) -> Footprint:
        return self.fused_footprint([source], dim)

    def build(self, source: FeatureSpec, dim: int) -> "WindowQFormerProjector":
        return self.build_fused([source], dim)

    def fused_output(self, sources: Sequence[FeatureSpec], dim: int) -> FeatureSpec:
        rate, lookahead = sources[0].rate, max(source.lookahead for source in sources)
        if any(source.rate != rate for source in sources):
            raise ValueError(f"it joins features frame by frame, but they give {' and '.join(map(str, sources))}; choose"
                             " encoders of one rate, or projector=concat_sequence")
        if rate is None:
            return FeatureSpec(dim, count=self.fused_length([source.count or 0 for source in sources]), lookahead=lookahead)
        return FeatureSpec(dim, rate=rate * Fraction(self.queries, self.window),
                           lookahead=lookahead + float((self.window - 1) / rate))

    def fused_length(self, counts: Sequence[int]) -> int:
        return self.length(max(counts))

    def fused_footprint(self, sources: Sequence[FeatureSpec], dim: int) -> Footprint:
        width = sum(source.dim for source in sources)
        return footprints.qformer(width, dim, self.queries, dim=self.dim, ffn=self.ffn, layers=self.layers,
                                  crossing=-(-self.layers // self.cross_every), added=2 * width * self.norm)

    def build_fused(self, sources: Sequence[FeatureSpec], dim: int) -> "WindowQFormerProjector":
        from omnikit_basics.window_qformer import WindowQFormerProjector

        return WindowQFormerProjector(self, [source.dim for source in sources], dim)


@dataclass(frozen=True)
class AveragePool:
    """The mean of each `stride` frames, and a Linear; the tail that does not fill a window is dropped.

    Source: Qwen2-Audio, arXiv:2407.10759.

    Args:
        stride: frames of a mean.
        norm: LayerNorm between the mean and the Linear, which Qwen2-Audio has at the end of its encoder.
    """

    stride: int = 2
    norm: bool = False

    def __post_init__(self) -> None:
        at_least(1, stride=self.stride)

    def output(self, source: FeatureSpec, dim: int) -> FeatureSpec:
        if source.rate is None:
            return FeatureSpec(dim, count=self.length(source.count or 0), lookahead=source.lookahead)
        return FeatureSpec(dim, source.rate / self.stride, lookahead=source.lookahead + float((self.stride - 1) / source.rate))

    def length(self, count: int) -> int:
        return count // self.stride

    def footprint(self, source: FeatureSpec, dim: int) -> Footprint:
        return footprints.pointwise((source.dim, dim), norm=self.norm)

    def build(self, source: FeatureSpec, dim: int) -> "AveragePoolProjector":
        from omnikit_basics.pooling import AveragePoolProjector

        return AveragePoolProjector(self, source.dim, dim)


@dataclass(frozen=True)
class PixelShuffleMlp:
    """Squares of `factor` x `factor` neighbours in an image's grid joined to one wide vector, and Linears.

    Channels are joined as in InternVL (arXiv:2404.16821: norm, two Linears) and Idefics3 (arXiv:2408.12637: one Linear, no
    bias). A grid whose side the factor does not divide loses its last rows and columns.

    Args:
        factor: side of a square.
        hidden: width between two Linears; 0: as wide as the backbone.
        depth: how many Linears.
        norm: LayerNorm before the first Linear.
        bias: whether the Linears have biases.
    """

    factor: int = 2
    hidden: int = 0
    depth: int = 2
    activation: Activation = "gelu"
    norm: bool = False
    bias: bool = True

    def __post_init__(self) -> None:
        at_least(1, factor=self.factor)
        at_least(0, hidden=self.hidden)
        if not 1 <= self.depth <= MOST_LAYERS:
            raise ValueError(f"depth is {self.depth}, but must be 1 to {MOST_LAYERS}")

    def output(self, source: FeatureSpec, dim: int) -> FeatureSpec:
        side = isqrt(source.count or 0)
        if source.count is None or side**2 != source.count or side % self.factor:
            raise ValueError(f"factor is {self.factor}, but the encoder gives {source}, which is not a square grid whose"
                             " side it divides; choose another factor, an encoder of images without class token, or stack_mlp")
        return FeatureSpec(dim, count=self.length(source.count), lookahead=source.lookahead)

    def length(self, count: int) -> int:
        return int((isqrt(count) // self.factor) ** 2)

    def widths(self, source: int, dim: int) -> tuple[int, ...]:
        """Give the widths of the vectors between the Linears, those of the joined vectors first."""
        return (source * self.factor**2, *[self.hidden or dim] * (self.depth - 1), dim)

    def footprint(self, source: FeatureSpec, dim: int) -> Footprint:
        return footprints.pointwise(self.widths(source.dim, dim), norm=self.norm, bias=self.bias)

    def build(self, source: FeatureSpec, dim: int) -> "PixelShuffleProjector":
        from omnikit_basics.pooling import PixelShuffleProjector

        return PixelShuffleProjector(self, source.dim, dim)
