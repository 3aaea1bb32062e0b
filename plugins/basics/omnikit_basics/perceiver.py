"""A perceiver resampler: latents that attend to features and to themselves. Uses no encoder and no backbone."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omnikit.contracts.types import Features
from omnikit_basics.config.resamplers import PerceiverResampler
from omnikit_basics.projectors import valid_vectors


class PerceiverProjector(nn.Module):
    """Latents [N, source] through the blocks, and a Linear: N vectors per row, as wide as the backbone."""

    def __init__(self, config: PerceiverResampler, source: int, dim: int) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.randn(config.latents, source))
        self.blocks = nn.ModuleList(
            nn.ModuleList([PerceiverAttention(config, source), PerceiverFeedForward(source)]) for _ in range(config.layers))
        self.layer_norm = nn.LayerNorm(source)
        self.linear = nn.Linear(source, dim)

    def forward(self, features: Features) -> Features:
        valid = valid_vectors(features.lengths, features.data.shape[1])
        x = self.latents.to(features.data.dtype).expand(len(valid), -1, -1)  # [B, N, source]
        for block in self.blocks:
            attention, feed_forward = block.children()
            x = x + attention(features.data, x, valid)
            x = x + feed_forward(x)
        return Features(self.linear(self.layer_norm(x)), torch.full_like(features.lengths, x.shape[1]), None)


class PerceiverAttention(nn.Module):
    """Attention of the latents to the features and the latents, without biases."""

    def __init__(self, config: PerceiverResampler, dim: int) -> None:
        super().__init__()
        self.heads, inner = config.heads, config.heads * config.head_dim
        self.context_layer_norm, self.latents_layer_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.q_layer_norm = nn.LayerNorm(config.head_dim) if config.qk_norm else nn.Identity()
        self.k_layer_norm = nn.LayerNorm(config.head_dim) if config.qk_norm else nn.Identity()
        self.q_proj = nn.Linear(dim, inner, bias=False)
        self.k_proj = nn.Linear(dim, inner, bias=False)
        self.v_proj = nn.Linear(dim, inner, bias=False)
        self.output_proj = nn.Linear(inner, dim, bias=False)

    def forward(self, context: Tensor, latents: Tensor, valid: Tensor) -> Tensor:
        """context [B, T, D], latents [B, N, D], valid [B, T] True = may be attended to; gives [B, N, D]."""
        latents = self.latents_layer_norm(latents)
        both = torch.cat([self.context_layer_norm(context), latents], dim=1)  # [B, T + N, D]
        q, k, v = (layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
                   for layer, x in ((self.q_proj, latents), (self.k_proj, both), (self.v_proj, both)))
        mask = torch.cat([valid, valid.new_ones(latents.shape[:2])], dim=1)[:, None, None]
        y = F.scaled_dot_product_attention(self.q_layer_norm(q), self.k_layer_norm(k), v, mask)
        out: Tensor = self.output_proj(y.transpose(1, 2).flatten(2))
        return out


class PerceiverFeedForward(nn.Module):
    """Norm, Linear, ReLU, Linear, four times as wide between them, without biases."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.ln = nn.LayerNorm(dim)
        self.fc = nn.Linear(dim, 4 * dim, bias=False)
        self.c_proj = nn.Linear(4 * dim, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.c_proj(F.relu(self.fc(self.ln(x))))
        return out
