"""A Q-Former: learned queries read a sequence of any length. Uses no encoder and no backbone."""

import torch
from torch import Tensor, nn

from omnikit.contracts.types import Features
from omnikit_basics.config.projectors import QFormer
from omnikit_basics.projectors import valid_vectors

STD = 0.02  # of fresh queries: initializer_range of BLIP-2's Q-Former


class QFormerProjector(nn.Module):
    """Queries [N, dim] through the layers; gives N vectors per row, as wide as the backbone."""

    def __init__(self, config: QFormer, source: int, dim: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.empty(config.queries, config.dim).normal_(std=STD))
        self.layers = nn.ModuleList(
            QFormerLayer(config, source if layer % config.cross_every == 0 else None) for layer in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.dim)
        self.output = nn.Linear(config.dim, dim)

    def forward(self, features: Features) -> Features:
        rows = features.data.shape[0]
        # a row without vectors would leave attention nothing to look at (NaN): it looks at its padding instead
        hidden = ~valid_vectors(features.lengths.clamp(min=1), features.data.shape[1])
        x = self.queries.to(features.data.dtype).expand(rows, -1, -1)  # [B, N, dim]
        for layer in self.layers:
            x = layer(x, features.data, hidden)
        lengths = torch.full_like(features.lengths, x.shape[1])
        return Features(self.output(self.norm(x)), lengths, None)


class QFormerLayer(nn.Module):
    """Self-attention of the queries, cross-attention to the features (if `source` is their width), feed-forward."""

    def __init__(self, config: QFormer, source: int | None) -> None:
        super().__init__()
        dim, heads, dropout = config.dim, config.heads, config.dropout
        self.self_norm = nn.LayerNorm(dim)
        self.self_attention = nn.MultiheadAttention(dim, heads, dropout, batch_first=True)
        self.cross_norm, self.cross_attention = None, None
        if source is not None:
            self.cross_norm = nn.LayerNorm(dim)
            widths = {"kdim": source, "vdim": source}
            self.cross_attention = nn.MultiheadAttention(dim, heads, dropout, batch_first=True, **widths)
        self.ffn = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, config.ffn), nn.GELU(), nn.Linear(config.ffn, dim))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, features: Tensor, hidden: Tensor) -> Tensor:
        """x [B, N, dim], features [B, T, source], hidden [B, T] True = not to be looked at."""
        y = self.self_norm(x)
        x = x + self.dropout(self.self_attention(y, y, y, need_weights=False)[0])
        if self.cross_attention is not None and self.cross_norm is not None:
            y = self.cross_norm(x)
            y = self.cross_attention(y, features, features, key_padding_mask=hidden, need_weights=False)[0]
            x = x + self.dropout(y)
        out: Tensor = x + self.dropout(self.ffn(x))
        return out
