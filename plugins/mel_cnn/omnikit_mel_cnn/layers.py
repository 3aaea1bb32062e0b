"""Convolutions and layers of the encoder, and who may look at whom. Takes no waveform and no state.

Relative positions are those of VITA's encoder (golden numbers: tests/parity/goldens/whale_audio_encoder): the score of query q
and key k at place j is (q + u) k + (q + v) p_j, where p_j is a Linear of the sines of place j. Nothing is shifted, so a
score depends on the key's place alone.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omnikit_mel_cnn.config import MelCnn, subsampled

Cache = tuple[Tensor, Tensor]  # keys and values [B, heads, positions, dim / heads]
LARGEST_DRAWN = 25  # output frames of a drawn chunk (WeNet)


class Subsampling(nn.Module):
    """Two 3x3 convolutions of stride 2 over time and mel bins, unpadded, so no row depends on its padding; then a Linear."""

    def __init__(self, config: MelCnn) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, config.channels, 3, 2)
        self.conv2 = nn.Conv2d(config.channels, config.channels, 3, 2)
        self.project = nn.Linear(config.channels * subsampled(subsampled(config.mel_bins)), config.dim)

    def forward(self, mel: Tensor) -> Tensor:
        """mel [B, frames, bins] to [B, T, dim]."""
        x = F.relu(self.conv2(F.relu(self.conv1(mel[:, None]))))  # [B, channels, T, bins / 4]
        out: Tensor = self.project(x.transpose(1, 2).flatten(2))  # channel by channel
        return out


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward, each behind its LayerNorm."""

    def __init__(self, config: MelCnn) -> None:
        super().__init__()
        self.dropout = config.dropout
        self.attention_norm = nn.LayerNorm(config.dim)
        self.attention = Attention(config.dim, config.heads, relative=config.positions == "relative")
        self.concat = nn.Linear(2 * config.dim, config.dim) if config.concat else None
        self.ffn_norm = nn.LayerNorm(config.dim)
        self.ffn = nn.Sequential(nn.Linear(config.dim, config.ffn), nn.ReLU(), nn.Linear(config.ffn, config.dim))

    def forward(self, x: Tensor, mask: Tensor, positions: Tensor, cache: Cache | None = None) -> tuple[Tensor, Cache]:
        """x [B, N, D] after what `cache` holds, P positions; mask [B or 1, 1, N or 1, P + N] True = to be looked at.

        Args:
            positions: sines of the positions of all keys [P + N, D].

        Returns:
            [B, N, D], and keys and values of all P + N positions.
        """
        normed = self.attention_norm(x)
        found, cache = self.attention(normed, mask, positions, cache)
        if self.concat is None:
            x = x + F.dropout(found, self.dropout, self.training)
        else:
            x = x + self.concat(torch.cat([normed, found], dim=2))  # without dropout, as the original
        return x + F.dropout(self.ffn(self.ffn_norm(x)), self.dropout, self.training), cache


class Attention(nn.Module):
    """Multi-head self-attention, by content alone or also by the keys' positions."""

    def __init__(self, dim: int, heads: int, *, relative: bool) -> None:
        super().__init__()
        self.heads, self.relative = heads, relative
        self.query, self.key = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.value, self.out = nn.Linear(dim, dim), nn.Linear(dim, dim)
        if relative:
            self.position = nn.Linear(dim, dim, bias=False)
            self.bias_u = nn.Parameter(nn.init.xavier_uniform_(torch.empty(heads, dim // heads)))
            self.bias_v = nn.Parameter(nn.init.xavier_uniform_(torch.empty(heads, dim // heads)))

    def forward(self, x: Tensor, mask: Tensor, positions: Tensor, cache: Cache | None) -> tuple[Tensor, Cache]:
        """As EncoderLayer; a row that may look at nothing finds 0."""
        query, key, value = (
            project(x).unflatten(2, (self.heads, -1)).transpose(1, 2)  # [B, heads, N, D / heads]
            for project in (self.query, self.key, self.value)
        )
        if cache is not None:
            key, value = torch.cat([cache[0], key], dim=2), torch.cat([cache[1], value], dim=2)
        scores = torch.zeros(mask.shape, dtype=query.dtype, device=x.device)
        held = key, value
        if self.relative:
            place = self.position(positions.to(x.dtype)).unflatten(1, (self.heads, -1)).transpose(0, 1)  # [heads, P + N, ...]
            # (q + u) k + (q + v) p = q (k + p) + u k + v p: what does not depend on q is a row, not a square
            row = (key * self.bias_u[:, None]).sum(3) + (place * self.bias_v[:, None]).sum(2)  # [B, heads, P + N]
            scores, key = row[:, :, None] / math.sqrt(query.shape[3]), key + place
        scores = scores.masked_fill(~mask, torch.finfo(query.dtype).min)  # finite: a row without a key must not become NaN
        y = F.scaled_dot_product_attention(query, key, value, attn_mask=scores)
        y = y.masked_fill(~mask.any(dim=3, keepdim=True), 0.0)
        out: Tensor = self.out(y.transpose(1, 2).flatten(2))
        return out, held


def sines(first: int, count: int, dim: int, device: torch.device) -> Tensor:
    """Sines and cosines by turns of `count` positions [count, dim], of wavelengths up to 2 pi 10000 (arXiv:1706.03762)."""
    frequencies = torch.exp(torch.arange(0, dim, 2, device=device) * (-math.log(10000.0) / dim))
    angles = torch.arange(first, first + count, device=device)[:, None] * frequencies  # [count, dim / 2]
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)


def chunk_mask(count: int, chunk: int, left: int | None, device: torch.device) -> Tensor:
    """Give which of `count` keys each query attends to [count, count]: its own chunk and `left` earlier ones (None: all)."""
    number = torch.arange(count, device=device) // chunk
    behind = number[:, None] - number  # chunks between query and key
    return behind >= 0 if left is None else (behind >= 0) & (behind <= left)


def drawn_chunks(count: int) -> tuple[int, int | None]:
    """Draw chunk size and left chunks for a batch of `count` output frames, by WeNet's rule: about half are unlimited."""
    drawn = int(torch.randint(1, max(count, 2), ()))
    if drawn > count // 2:
        return count, None
    chunk = drawn % LARGEST_DRAWN + 1
    return chunk, int(torch.randint(0, (count - 1) // chunk + 1, ()))
