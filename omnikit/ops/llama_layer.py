"""A LLaMA layer with the names of its public checkpoints (arXiv:2302.13971). Independent of what its frames are."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from omnikit.ops.kv_cache import KVCache
from omnikit.ops.rotary import RotaryAngles, rotate


class LlamaLayer(nn.Module):
    """Norm, attention, norm, gated feed-forward; no biases.

    Args:
        dim: width.
        heads: attention heads, as many for keys and values.
        ffn: width inside the feed-forward layer.
        rms_eps: epsilon of the norms.
    """

    def __init__(self, dim: int, heads: int, ffn: int, rms_eps: float) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(dim, rms_eps)
        self.self_attn = LlamaAttention(dim, heads)
        self.post_attention_layernorm = nn.RMSNorm(dim, rms_eps)
        self.mlp = LlamaFeedForward(dim, ffn)

    def forward(self, x: Tensor, angles: RotaryAngles, mask: Tensor | None = None, cache: KVCache | None = None, *,
                causal: bool = False) -> Tensor:
        """x [B, T, D] to [B, T, D].

        Args:
            x: frames; with `cache`, those that go on behind what it holds.
            angles: of the frames' positions.
            mask: [B, 1, T, K] over all keys, bool (True = attended to) or added to the scores; None: all.
            cache: keys and values of this layer; changed in place.
            causal: a frame attends to itself and to those before; without `mask` and `cache`.
        """
        x = x + self.self_attn(self.input_layernorm(x), angles, mask, cache, causal=causal)
        result: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return result


class LlamaAttention(nn.Module):
    """Attention with rotary positions."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(dim, dim, bias=False)
        self.k_proj = nn.Linear(dim, dim, bias=False)
        self.v_proj = nn.Linear(dim, dim, bias=False)
        self.o_proj = nn.Linear(dim, dim, bias=False)

    def forward(self, x: Tensor, angles: RotaryAngles, mask: Tensor | None = None, cache: KVCache | None = None, *,
                causal: bool = False) -> Tensor:
        """x [B, T, D] to [B, T, D]; arguments as of the layer."""
        q, k, v = (proj(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [B, H, T, D / H]
                   for proj in (self.q_proj, self.k_proj, self.v_proj))
        q, k = rotate(q, angles), rotate(k, angles)
        if cache is not None:
            k, v = cache.extend(k, v)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
        result: Tensor = self.o_proj(mixed.transpose(1, 2).flatten(2))
        return result


class LlamaFeedForward(nn.Module):
    """Gated feed-forward layer with SiLU."""

    def __init__(self, dim: int, ffn: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(dim, ffn, bias=False)
        self.up_proj = nn.Linear(dim, ffn, bias=False)
        self.down_proj = nn.Linear(ffn, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x [..., D] to [..., D]."""
        result: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return result
