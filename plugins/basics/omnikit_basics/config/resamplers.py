"""The settings and contracts of projectors that give a fixed number of embeddings by attention. Imports no torch."""

import math
from dataclasses import dataclass, field
from math import isqrt
from typing import TYPE_CHECKING, Literal

from omnikit.contracts.footprint import Footprint
from omnikit.contracts.specs import LATER, FeatureSpec
from omnikit_basics import footprints
from omnikit_basics.config.limits import at_least, dividing, fraction

if TYPE_CHECKING:
    from omnikit_basics.bert_qformer import BertQFormerProjector
    from omnikit_basics.perceiver import PerceiverProjector
    from omnikit_basics.query_resampler import QueryResamplerProjector

Positions = Literal["none", "1d", "2d"]


@dataclass(frozen=True)
class BertQFormer:
    """Learned queries through layers of BERT (norms behind each block) that also attend to the features, and a Linear.

    Parameters have the names of transformers' Blip2QFormerModel, with a tokenizer those of InstructBlipQFormerModel. Source:
    BLIP-2, arXiv:2301.12597; InstructBLIP, arXiv:2305.06500.

    Args:
        queries: embeddings per item.
        cross_every: cross-attention stands in the first of every so many layers.
        tokenizer: by name, folder or file: the queries also attend to the tokens of the message that a signal stands in; None:
            they read the features alone.
        vocabulary: rows of the table of these tokens, at least the tokenizer's size.
        context: of these tokens at most.
    """

    queries: int = 32
    dim: int = 128
    layers: int = 2
    heads: int = 4
    ffn: int = 512
    cross_every: int = 2
    dropout: float = 0.0
    tokenizer: str | None = field(default=None, metadata=LATER)
    vocabulary: int = field(default=30523, metadata=LATER)
    context: int = field(default=512, metadata=LATER)

    def __post_init__(self) -> None:
        at_least(1, queries=self.queries, dim=self.dim, layers=self.layers, heads=self.heads, ffn=self.ffn,
                 cross_every=self.cross_every, vocabulary=self.vocabulary, context=self.context)
        dividing("heads", self.heads, "dim", self.dim)
        fraction("dropout", self.dropout)

    def output(self, source: FeatureSpec, dim: int) -> FeatureSpec:
        return FeatureSpec(dim, count=self.queries, lookahead=math.inf)

    def length(self, count: int) -> int:
        return self.queries

    def footprint(self, source: FeatureSpec, dim: int) -> Footprint:
        text = self.layers * (2 * self.dim * self.ffn + self.ffn + 3 * self.dim) + (self.vocabulary + self.context) * self.dim
        return footprints.qformer(source.dim, dim, self.queries, dim=self.dim, ffn=self.ffn, layers=self.layers,
                                  crossing=-(-self.layers // self.cross_every), added=text if self.tokenizer else 0)

    def build(self, source: FeatureSpec, dim: int) -> "BertQFormerProjector":
        from omnikit_basics.bert_qformer import BertQFormerProjector, TextSizes

        text = TextSizes(self.vocabulary, self.context) if self.tokenizer else None
        return BertQFormerProjector(self, source.dim, dim, text)


@dataclass(frozen=True)
class PerceiverResampler:
    """Learned latents that attend to the features and to themselves, as wide as the features, and a Linear.

    Parameters have the names of transformers' IdeficsPerceiverResampler. Source: Flamingo, arXiv:2204.14198.

    Args:
        latents: embeddings per item.
        head_dim: width of an attention head.
        qk_norm: LayerNorm of queries and keys, as Idefics has it.
    """

    latents: int = 64
    layers: int = 2
    heads: int = 4
    head_dim: int = 32
    qk_norm: bool = False

    def __post_init__(self) -> None:
        at_least(1, latents=self.latents, layers=self.layers, heads=self.heads, head_dim=self.head_dim)

    def output(self, source: FeatureSpec, dim: int) -> FeatureSpec:
        return FeatureSpec(dim, count=self.latents, lookahead=math.inf)

    def length(self, count: int) -> int:
        return self.latents

    def footprint(self, source: FeatureSpec, dim: int) -> Footprint:
        return footprints.perceiver(source.dim, dim, self.latents, layers=self.layers, inner=self.heads * self.head_dim,
                                    norms=4 * self.head_dim * self.qk_norm)

    def build(self, source: FeatureSpec, dim: int) -> "PerceiverProjector":
        from omnikit_basics.perceiver import PerceiverProjector

        return PerceiverProjector(self, source.dim, dim)


@dataclass(frozen=True)
class QueryResampler:
    """Learned queries that attend to the features, both with fixed sine positions; a norm and a Linear behind them.

    Source: Qwen-VL, arXiv:2308.12966 (one layer, no residual, no feed-forward, 2-D positions); with several layers,
    `with_queries` and `positions: none` the abstractor of mPLUG-Owl, arXiv:2304.14178, whose feed-forward is gated.

    Args:
        queries: embeddings per item; a square for positions in 2-D.
        dim: width of the layers; 0: the backbone's.
        ffn: width of the feed-forward behind each attention; 0: none.
        positions: of queries and features: none, along the sequence, or in the grid of an image.
        residual: what enters a layer is added to what its attention gives.
        with_queries: the queries attend to themselves, too.
    """

    queries: int = 64
    dim: int = 0
    layers: int = 1
    heads: int = 4
    ffn: int = 0
    positions: Positions = "1d"
    residual: bool = True
    with_queries: bool = False

    def __post_init__(self) -> None:
        at_least(1, queries=self.queries, layers=self.layers, heads=self.heads)
        at_least(0, dim=self.dim, ffn=self.ffn)
        if self.positions == "2d" and isqrt(self.queries) ** 2 != self.queries:
            raise ValueError(f"queries is {self.queries}, but positions in 2-D need a square, such as"
                             f" {isqrt(self.queries) ** 2}; or set positions=1d")

    def width(self, dim: int) -> int:
        """Give the width of the layers before a backbone `dim` wide."""
        width = self.dim or dim
        dividing("heads", self.heads, "dim", width)
        if width % 4 and self.positions != "none":
            raise ValueError(f"dim is {width}, but sine positions need a multiple of 4")
        return width

    def output(self, source: FeatureSpec, dim: int) -> FeatureSpec:
        self.width(dim)
        if self.positions == "2d" and (source.count is None or isqrt(source.count) ** 2 != source.count):
            raise ValueError(f"positions is 2d, but the encoder gives {source}, which is not the square grid of an image;"
                             " set positions=1d")
        return FeatureSpec(dim, count=self.queries, lookahead=math.inf)

    def length(self, count: int) -> int:
        return self.queries

    def footprint(self, source: FeatureSpec, dim: int) -> Footprint:
        return footprints.resampler(source.dim, dim, self.queries, width=self.width(dim), layers=self.layers, ffn=self.ffn)

    def build(self, source: FeatureSpec, dim: int) -> "QueryResamplerProjector":
        from omnikit_basics.query_resampler import QueryResamplerProjector

        return QueryResamplerProjector(self, source.dim, dim)
