"""A Q-Former in BERT's layout: names and norms of BLIP-2's. Uses no encoder and no backbone."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omnikit.contracts.types import Features, Targets
from omnikit.errors import DataError
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


@dataclass(frozen=True)
class TextSizes:
    """Rows of the tables of tokens and of positions of a Q-Former that reads text."""

    vocabulary: int
    context: int


class BertQFormerProjector(nn.Module):
    """Queries [1, N, dim] through the Q-Former, and a Linear: N vectors per row, as wide as the backbone.

    Args:
        text: sizes of what reads the text beside each signal; None: the features alone are read.
    """

    def __init__(self, config: QFormerSizes, source: int, dim: int, text: TextSizes | None = None) -> None:
        super().__init__()
        self.query_tokens = nn.Parameter(torch.empty(1, config.queries, config.dim).normal_(std=STD))
        self.qformer = BertQFormerModel(config, source, text)
        self.language_projection = nn.Linear(config.dim, dim)
        last = f"qformer.encoder.layer.{config.layers - 1}"  # its text goes nowhere
        self.unused_parameters = (f"{last}.intermediate", f"{last}.output") if text else ()

    def forward(self, features: Features, *, instructions: Targets | None = None) -> Features:
        """Features [B, T, source], with the ids [B, U] of the text beside them where it reads some, to [B, N, D].

        Raises:
            DataError: the text has an id that the table of tokens lacks (asked for on the CPU only), or too many.
        """
        # a row without vectors would leave attention nothing to attend to (NaN): it attends to its padding instead
        valid = valid_vectors(features.lengths.clamp(min=1), features.data.shape[1])
        x = self.qformer(self.query_tokens.expand(len(valid), -1, -1), features.data, valid, instructions)
        return Features(self.language_projection(x), torch.full_like(features.lengths, x.shape[1]), None)


class TextEmbeddings(nn.Module):
    """Tokens and their positions to vectors [B, U, dim], and the norm of queries and text together."""

    def __init__(self, config: QFormerSizes, sizes: TextSizes) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(sizes.vocabulary, config.dim)
        self.position_embeddings = nn.Embedding(sizes.context, config.dim)
        self.layernorm = nn.LayerNorm(config.dim, eps=EPS)

    def forward(self, ids: Tensor) -> Tensor:
        """ids [B, U] to vectors [B, U, dim], before the norm."""
        rows, context = self.word_embeddings.num_embeddings, self.position_embeddings.num_embeddings
        if ids.shape[1] > context:
            raise DataError(f"The text beside a signal has {ids.shape[1]} tokens, but the Q-Former has positions for {context};"
                            " raise the projector's context, or shorten the text.")
        if ids.device.type == "cpu" and ids.numel() and int(ids.amax()) >= rows:
            raise DataError(f"The text beside a signal has token {int(ids.amax())}, but the Q-Former's vocabulary is {rows};"
                            " set the projector's vocabulary to the size of its tokenizer.")
        positions = torch.arange(ids.shape[1], device=ids.device)
        vectors: Tensor = self.word_embeddings(ids) + self.position_embeddings(positions)
        return vectors


class BertQFormerModel(nn.Module):
    """The layers, behind a norm of the queries; text, where it reads some, stands behind the queries."""

    def __init__(self, config: QFormerSizes, source: int, text: TextSizes | None = None) -> None:
        super().__init__()
        self.embeddings = TextEmbeddings(config, text) if text else None
        self.layernorm = None if text else nn.LayerNorm(config.dim, eps=EPS)
        self.dropout = nn.Dropout(config.dropout)
        self.encoder = nn.Module()
        self.encoder.layer = nn.ModuleList(
            BertLayer(config, source if index % config.cross_every == 0 else None, text=text is not None)
            for index in range(config.layers))

    def forward(self, queries: Tensor, features: Tensor, valid: Tensor | None = None,
                text: Targets | None = None) -> Tensor:
        """queries [B, N, dim], features [B, T, source], valid [B, T] and ids [B, U] of text to [B, N, dim]."""
        count, read = queries.shape[1], None
        if self.embeddings is not None:
            assert text is not None, "its configuration has a tokenizer, so text always comes"
            inside = torch.arange(text.ids.shape[1], device=text.ids.device) < text.lengths[:, None]
            read = F.pad(inside, (count, 0), value=True)  # [B, N + U], queries and text
            queries = torch.cat([queries, self.embeddings(text.ids.clamp(min=0))], dim=1)
        norm = self.layernorm if self.embeddings is None else self.embeddings.layernorm
        assert norm is not None, "one of both is there"
        x: Tensor = self.dropout(norm(queries.to(features.dtype)))
        for layer in self.encoder.get_submodule("layer").children():
            x = layer(x, features, valid, read, count)
        return x[:, :count]


class BertLayer(nn.Module):
    """Self-attention, cross-attention (if `source` is the features' width) and feed-forward, a norm behind each.

    Text takes part in self-attention, and has a feed-forward of its own.
    """

    def __init__(self, config: QFormerSizes, source: int | None, *, text: bool = False) -> None:
        super().__init__()
        self.attention = BertAttention(config, config.dim)
        self.crossattention = None if source is None else BertAttention(config, source)
        self.intermediate_query = nn.ModuleDict({"dense": nn.Linear(config.dim, config.ffn)})
        self.output_query = BertOutput(config.ffn, config)
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(config.dim, config.ffn)}) if text else None
        self.output = BertOutput(config.ffn, config) if text else None

    def forward(self, x: Tensor, features: Tensor, valid: Tensor | None, read: Tensor | None, count: int) -> Tensor:
        """x [B, N (+ U), dim], features [B, T, source]; valid [B, T] and read [B, N + U] True = may be attended to."""
        x = self.attention(x, x, read)
        queries, text = x[:, :count], x[:, count:]
        if self.crossattention is not None:
            queries = self.crossattention(queries, features, valid)
        out: Tensor = self.output_query(F.gelu(self.intermediate_query["dense"](queries)), queries)
        if self.intermediate is None or self.output is None:
            return out
        return torch.cat([out, self.output(F.gelu(self.intermediate["dense"](text)), text)], dim=1)


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
