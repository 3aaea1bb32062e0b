"""A Q-Former in BERT's layout: names and norms of BLIP-2's. Uses no encoder and no backbone."""

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omnikit.contracts.types import Features
from omnikit_basics.projectors import valid_vectors

EPS = 1e-12  # of norms, as BERT has it
STD = 0.02  # of fresh queries: initializer_range of BLIP-2's Q-Former


class QFormerSizes(Protocol):
    """What the layers read of a configuration."""

    @property
    def dim(self) -> int: ...
    @property
    def layers(self) -> int: ...
    @property
    def heads(self) -> int: ...
    @property
    def ffn(self) -> int: ...
    @property
    def cross_every(self) -> int: ...
    @property
    def dropout(self) -> float: ...
    @property
    def queries(self) -> int: ...


class BertQFormerProjector(nn.Module):
    """Queries [1, N, dim] through the Q-Former, and a Linear: N vectors per row, as wide as the backbone."""

    def __init__(self, config: QFormerSizes, source: int, dim: int) -> None:
        super().__init__()
        self.query_tokens = nn.Parameter(torch.empty(1, config.queries, config.dim).normal_(std=STD))
        self.qformer = BertQFormerModel(config, source)
        self.language_projection = nn.Linear(config.dim, dim)

    def forward(self, features: Features) -> Features:
        # a row without vectors would leave attention nothing to attend to (NaN): it attends to its padding instead
        valid = valid_vectors(features.lengths.clamp(min=1), features.data.shape[1])
        x = self.qformer(self.query_tokens.expand(len(valid), -1, -1), features.data, valid)
        return Features(self.language_projection(x), torch.full_like(features.lengths, x.shape[1]), None)


class BertQFormerModel(nn.Module):
    """The layers, behind a norm of the queries."""

    def __init__(self, config: QFormerSizes, source: int) -> None:
        super().__init__()
        self.layernorm = nn.LayerNorm(config.dim, eps=EPS)
        self.dropout = nn.Dropout(config.dropout)
        self.encoder = nn.Module()
        self.encoder.layer = nn.ModuleList(
            BertLayer(config, source if index % config.cross_every == 0 else None) for index in range(config.layers))

    def forward(self, queries: Tensor, features: Tensor, valid: Tensor | None = None) -> Tensor:
        """queries [B, N, dim], features [B, T, source] and valid [B, T] to [B, N, dim]."""
        x: Tensor = self.dropout(self.layernorm(queries.to(features.dtype)))
        for layer in self.encoder.get_submodule("layer").children():
            x = layer(x, features, valid)
        return x


class BertLayer(nn.Module):
    """Self-attention, cross-attention (if `source` is the features' width) and feed-forward, a norm behind each."""

    def __init__(self, config: QFormerSizes, source: int | None) -> None:
        super().__init__()
        self.attention = BertAttention(config, config.dim)
        self.crossattention = None if source is None else BertAttention(config, source)
        self.intermediate_query = nn.ModuleDict({"dense": nn.Linear(config.dim, config.ffn)})
        self.output_query = BertOutput(config.ffn, config)

    def forward(self, x: Tensor, features: Tensor, valid: Tensor | None) -> Tensor:
        """x [B, N, dim], features [B, T, source], valid [B, T] True = may be attended to."""
        x = self.attention(x, x, None)
        if self.crossattention is not None:
            x = self.crossattention(x, features, valid)
        out: Tensor = self.output_query(F.gelu(self.intermediate_query["dense"](x)), x)
        return out


class BertAttention(nn.Module):
    """Attention of x to vectors `source` wide, added to x, and a norm."""

    def __init__(self, config: QFormerSizes, source: int) -> None:
        super().__init__()
        self.heads, self.rate = config.heads, config.dropout
        self.attention = nn.ModuleDict({"query": nn.Linear(config.dim, config.dim), "key": nn.Linear(source, config.dim),
                                        "value": nn.Linear(source, config.dim)})
        self.output = BertOutput(config.dim, config)

    def forward(self, x: Tensor, features: Tensor, valid: Tensor | None) -> Tensor:
        q, k, v = (self.attention[name](tensor).unflatten(-1, (self.heads, -1)).transpose(1, 2)
                   for name, tensor in (("query", x), ("key", features), ("value", features)))  # [B, H, N or T, dim / H]
        mask = None if valid is None else valid[:, None, None]
        y = F.scaled_dot_product_attention(q, k, v, mask, self.rate if self.training else 0.0)
        out: Tensor = self.output(y.transpose(1, 2).flatten(2), x)
        return out


class BertOutput(nn.Module):
    """A Linear, its result added to what came in before, and a norm."""

    def __init__(self, width: int, config: QFormerSizes) -> None:
        super().__init__()
        self.dense = nn.Linear(width, config.dim)
        self.LayerNorm = nn.LayerNorm(config.dim, eps=EPS)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, before: Tensor) -> Tensor:
        out: Tensor = self.LayerNorm(self.dropout(self.dense(x)) + before)
        return out
