"""LLaMA layers with a given mask, and the keys and values that they keep. Knows nothing of text or codes."""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnikit_vita.nar_ar import NarAr

Turn = tuple[Tensor, Tensor]  # cosines and sines of the rotary angles, [..., T, head width / 2] each


class Past(Protocol):
    """Keys and values of one layer, behind which new ones go."""

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Put new keys and values [B, H, T, W] behind the others; gives all of them."""


class Joined:
    """Keys and values that grow by copying; gradients pass. The first thing that extends them may be another layer."""

    def __init__(self) -> None:
        self.held: tuple[Tensor, Tensor] | None = None

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Join; what it gave before stays as it was."""
        if self.held is not None:
            keys, values = torch.cat([self.held[0], keys], 2), torch.cat([self.held[1], values], 2)
        self.held = keys, values
        return self.held


class Room:
    """Keys and values of one sentence in memory that is reserved once, [1, H, room, W] each; nothing is copied later."""

    def __init__(self, room: int) -> None:
        self.room, self.count = room, 0
        self.keys: Tensor | None = None
        self.values: Tensor | None = None

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write into the room; what it gave before sees no change."""
        if self.keys is None or self.values is None:
            batch, heads, _, width = keys.shape
            self.keys, self.values = (keys.new_empty(batch, heads, self.room, width) for _ in range(2))
        end = self.count + keys.shape[2]
        self.keys[:, :, self.count:end] = keys
        self.values[:, :, self.count:end] = values
        self.count = end
        return self.keys[:, :, :end], self.values[:, :, :end]


class Layer(nn.Module):
    """A LLaMA layer: norm, attention, norm, gated feed-forward; no biases."""

    def __init__(self, config: NarAr) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(config.dim, config.rms_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = nn.RMSNorm(config.dim, config.rms_eps)
        self.mlp = FeedForward(config)

    def forward(self, x: Tensor, turn: Turn, mask: Tensor | None, past: Past | None = None) -> Tensor:
        """x [B, T, D] to [B, T, D]; mask [B, 1, T, K] bool, True = seen, over all keys; None: everything sees everything."""
        x = x + self.self_attn(self.input_layernorm(x), turn, mask, past)
        result: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return result


class Attention(nn.Module):
    """Attention with rotary positions."""

    def __init__(self, config: NarAr) -> None:
        super().__init__()
        self.heads = config.heads
        self.q_proj = nn.Linear(config.dim, config.dim, bias=False)
        self.k_proj = nn.Linear(config.dim, config.dim, bias=False)
        self.v_proj = nn.Linear(config.dim, config.dim, bias=False)
        self.o_proj = nn.Linear(config.dim, config.dim, bias=False)

    def forward(self, x: Tensor, turn: Turn, mask: Tensor | None, past: Past | None) -> Tensor:
        """x [B, T, D] to [B, T, D]."""
        q, k, v = (proj(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [B, H, T, D / H]
                   for proj in (self.q_proj, self.k_proj, self.v_proj))
        q, k = rotate(q, turn), rotate(k, turn)
        if past is not None:
            k, v = past.extend(k, v)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        result: Tensor = self.o_proj(mixed.transpose(1, 2).flatten(2))
        return result


class FeedForward(nn.Module):
    """Gated feed-forward layer with SiLU."""

    def __init__(self, config: NarAr) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.dim, config.ffn, bias=False)
        self.up_proj = nn.Linear(config.dim, config.ffn, bias=False)
        self.down_proj = nn.Linear(config.ffn, config.dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x [..., D] to [..., D]."""
        result: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return result


def turning(config: NarAr, positions: Tensor, dtype: torch.dtype) -> Turn:
    """Give what `rotate` needs of positions [..., T], once for all layers."""
    width = config.dim // config.heads
    exponents = torch.arange(0, width, 2, dtype=torch.float32, device=positions.device) / width
    angles = positions[..., None].float() * config.rope_theta ** -exponents  # radians, [..., T, W / 2]
    return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(x: Tensor, turn: Turn) -> Tensor:
    """Turn x [B, H, T, W] by [..., T, W / 2] angles; a pair is an element of the first half and one of the second."""
    cos, sin = turn
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)
