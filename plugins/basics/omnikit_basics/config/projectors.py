"""The settings and contracts of the basic projectors. Imports no torch."""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from omnikit.contracts.footprint import Footprint
from omnikit.contracts.specs import LATER, FeatureSpec
from omnikit_basics import footprints
from omnikit_basics.config.limits import at_least

if TYPE_CHECKING:
    from omnikit_basics.projectors import PointwiseProjector, StackProjector, StridedConvProjector
    from omnikit_basics.qformer import QFormerProjector

Activation = Literal["gelu", "relu", "silu"]
MOST_LAYERS = 64  # of a projector; its sizes are listed one by one


@dataclass(frozen=True)
class Linear:
    """One Linear for each vector; nothing to set."""

    def output(self, source: FeatureSpec, dim: int) -> FeatureSpec:
        return FeatureSpec(dim, source.rate, source.count, source.lookahead)

    def length(self, count: int) -> int:
        return count

    def footprint(self, source: FeatureSpec, dim: int) -> Footprint:
        return footprints.pointwise((source.dim, dim))

    def build(self, source: FeatureSpec, dim: int) -> "PointwiseProjector":
        from omnikit_basics.projectors import PointwiseProjector

        return PointwiseProjector((source.dim, dim))


@dataclass(frozen=True)
class Mlp:
    """Several Linears with activations between them, for each vector alone.

    Args:
        hidden: width between two Linears; 0: as wide as the backbone.
        depth: how many Linears, at least 2.
        norm: LayerNorm before the first Linear, as InternVL has it and VITA has not.
    """

    hidden: int = 256
    depth: int = 2
    activation: Activation = "gelu"
    norm: bool = field(default=False, metadata=LATER)

    def __post_init__(self) -> None:
        at_least(0, hidden=self.hidden)
        if not 2 <= self.depth <= MOST_LAYERS:
            raise ValueError(f"depth is {self.depth}, but must be 2 to {MOST_LAYERS}; for a single Linear use linear")

    def output(self, source: FeatureSpec, dim: int) -> FeatureSpec:
        return FeatureSpec(dim, source.rate, source.count, source.lookahead)

    def length(self, count: int) -> int:
        return count

    def footprint(self, source: FeatureSpec, dim: int) -> Footprint:
        return footprints.pointwise((source.dim, *[self.hidden or dim] * (self.depth - 1), dim), norm=self.norm)

    def build(self, source: FeatureSpec, dim: int) -> "PointwiseProjector":
        from omnikit_basics.projectors import PointwiseProjector

        widths = (source.dim, *[self.hidden or dim] * (self.depth - 1), dim)
        return PointwiseProjector(widths, self.activation, norm=self.norm)


@dataclass(frozen=True)
class StackMlp:
    """Join each `stride` frames, then Linear, ReLU, Linear.

    Source: LLaMA-Omni, arXiv:2409.06666, whose code drops the tail; also SLAM-ASR, arXiv:2402.08846. With GELU and no bias
    Voxtral, arXiv:2507.13264.

    Args:
        stride: frames that are joined.
        hidden: width between the Linears; 0: as wide as the backbone.
        tail: what becomes of the last frames that are fewer than `stride`: dropped, or padded with zeros.
        uneven: a fixed number of frames that the stride does not divide has such a tail too; false refuses the stride.
        bias: whether the Linears have biases.
    """

    stride: int = 5
    hidden: int = 256
    tail: Literal["drop", "pad"] = "drop"
    uneven: bool = field(default=False, metadata=LATER)
    activation: Activation = field(default="relu", metadata=LATER)
    bias: bool = field(default=True, metadata=LATER)

    def __post_init__(self) -> None:
        at_least(1, stride=self.stride)
        at_least(0, hidden=self.hidden)

    def output(self, source: FeatureSpec, dim: int) -> FeatureSpec:
        if source.rate is not None:
            lookahead = source.lookahead + float((self.stride - 1) / source.rate)
            return FeatureSpec(dim, rate=source.rate / self.stride, lookahead=lookahead)
        count = source.count or 0
        if count % self.stride and not self.uneven:
            divisors = [divisor for divisor in range(1, count + 1) if count % divisor == 0]
            near = sorted(sorted(divisors, key=lambda divisor: abs(divisor - self.stride))[:3])
            raise ValueError(f"stride is {self.stride}, but the encoder gives {count} vectors per item; "
                             f"use a divisor: {', '.join(map(str, near))}")
        return FeatureSpec(dim, count=self.length(count), lookahead=source.lookahead)

    def length(self, count: int) -> int:
        return count // self.stride if self.tail == "drop" else -(-count // self.stride)

    def footprint(self, source: FeatureSpec, dim: int) -> Footprint:
        return footprints.pointwise((source.dim, self.hidden or dim, dim), joined=self.stride, bias=self.bias)

    def build(self, source: FeatureSpec, dim: int) -> "StackProjector":
        from omnikit_basics.projectors import StackProjector

        return StackProjector(self, source.dim, dim)


@dataclass(frozen=True)
class StridedConv:
    """One strided convolution over time, norm, activation, Linear.

    The time axis is padded with kernel - 1 zeros, so every vector counts and length = ceil(count / stride).

    Args:
        kernel: frames that a convolution spans.
        stride: frames per output frame.
        hidden: channels of the convolution.
        causal: zeros on the left, so it depends on the past only; False puts them on the right, as VITA's adapter does.
        norm: over the channels of a frame, over the valid frames of the batch, or none.
        eps: added to the variance by the norm; that of VITA's adapter is larger than usual, harmless elsewhere.
        prompts: learned embeddings put before the output of each item.
    """

    kernel: int = 5
    stride: int = 2
    hidden: int = 256
    causal: bool = True
    norm: Literal["layer", "batch", "none"] = "layer"
    activation: Activation = "gelu"
    eps: float = field(default=1e-3, metadata=LATER)
    prompts: int = field(default=0, metadata=LATER)

    def __post_init__(self) -> None:
        at_least(1, kernel=self.kernel, stride=self.stride, hidden=self.hidden)
        at_least(0, prompts=self.prompts)
        if self.eps <= 0:
            raise ValueError(f"eps is {self.eps}, but must be above 0")

    def output(self, source: FeatureSpec, dim: int) -> FeatureSpec:
        if source.rate is None:
            return FeatureSpec(dim, count=self.length(source.count or 0), lookahead=source.lookahead)
        ahead = 0.0 if self.causal else float((self.kernel - 1) / source.rate)
        return FeatureSpec(dim, rate=source.rate / self.stride, lookahead=source.lookahead + ahead)

    def length(self, count: int) -> int:
        return self.prompts - (-count // self.stride)

    def footprint(self, source: FeatureSpec, dim: int) -> Footprint:
        return footprints.strided_conv(source.dim, dim, self.hidden, kernel=self.kernel, stride=self.stride,
                                       norm=self.norm != "none", prompts=self.prompts)

    def build(self, source: FeatureSpec, dim: int) -> "StridedConvProjector":
        from omnikit_basics.projectors import StridedConvProjector

        return StridedConvProjector(self, source.dim, dim)


@dataclass(frozen=True)
class QFormer:
    """Learned queries that attend to each other and to the features: a fixed number of embeddings for any input.

    Layers are pre-norm, which trains from random weights; BLIP-2's BERT is post-norm. Source: arXiv:2301.12597.

    Args:
        queries: embeddings per item.
        cross_every: cross-attention stands in the first of every so many layers.
    """

    queries: int = 32
    dim: int = 128
    layers: int = 2
    heads: int = 4
    ffn: int = 512
    cross_every: int = 1
    dropout: float = 0.0

    def __post_init__(self) -> None:
        at_least(1, queries=self.queries, dim=self.dim, layers=self.layers, heads=self.heads, ffn=self.ffn,
                  cross_every=self.cross_every)
        if self.dim % self.heads:
            raise ValueError(f"heads is {self.heads}, but must divide dim, which is {self.dim}")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout is {self.dropout}, but must be at least 0 and below 1")

    def output(self, source: FeatureSpec, dim: int) -> FeatureSpec:
        return FeatureSpec(dim, count=self.queries, lookahead=math.inf)

    def length(self, count: int) -> int:
        return self.queries

    def footprint(self, source: FeatureSpec, dim: int) -> Footprint:
        return footprints.qformer(source.dim, dim, self.queries, dim=self.dim, ffn=self.ffn, layers=self.layers,
                                  crossing=-(-self.layers // self.cross_every))

    def build(self, source: FeatureSpec, dim: int) -> "QFormerProjector":
        from omnikit_basics.qformer import QFormerProjector

        return QFormerProjector(self, source.dim, dim)
