"""InternViT from normalised pixels on, and pixel shuffle. Uses no tiling, no projector.

Parameter names are the published ones: embeddings.{class_embedding, patch_embedding, position_embedding} and
encoder.layers.N.{norm1, attn.qkv, attn.q_norm, attn.k_norm, attn.proj, ls1, norm2, mlp.fc1, mlp.fc2, ls2}.
In VITA's checkpoints they stand behind `model.vision_tower.vision_tower.`.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omnikit.contracts.types import Features, Signal
from omnikit.ops.empty import filled_from, loads_weights
from omnikit_internvit.config import SHUFFLE, InternVit
from omnikit_internvit.weights import load_weights


class InternVitEncoder(nn.Module):
    """Tiles [T, 3, size, size], normalised, to features [T, (size / patch / 2)², 4 * dim]."""

    def __init__(self, config: InternVit) -> None:
        super().__init__()
        self.config = config
        with filled_from(config.weights):
            self.embeddings = Embeddings(config)
            self.encoder = Layers(config)
        if config.weights is not None and loads_weights():
            load_weights(self, config.weights, config)

    def forward(self, signal: Signal) -> Features:
        hidden = self.encoder(self.embeddings(signal.data))
        data = self.joined(hidden)  # [T, N, 4 * dim]
        return Features(data, torch.full_like(signal.lengths, data.shape[1]))

    def joined(self, hidden: Tensor) -> Tensor:
        """Give [T, N / 4, 4 * dim] of a square of patches [T, 1 + N, dim] behind the class token, which is dropped."""
        side = round((hidden.shape[1] - 1) ** 0.5)
        square = (self.config.gain * hidden[:, 1:]).reshape(len(hidden), side, side, -1)
        return pixel_shuffle(square).flatten(1, 2)


def pixel_shuffle(square: Tensor) -> Tensor:
    """Join each 2 by 2 neighbours of [T, H, W, D] into one vector: [T, H / 2, W / 2, 4 * D].

    In a vector the upper left comes first, then the upper right, the lower left, the lower right (InternVL's version v2).
    """
    tiles, high, wide, dim = square.shape
    cells = square.reshape(tiles, high // SHUFFLE, SHUFFLE, wide // SHUFFLE, SHUFFLE, dim)
    return cells.transpose(2, 3).flatten(3)


class Embeddings(nn.Module):
    """Patches as vectors, a class token before them, learned positions on both."""

    def __init__(self, config: InternVit) -> None:
        super().__init__()
        self.grid = config.grid
        self.class_embedding = nn.Parameter(torch.empty(1, 1, config.dim).normal_(std=0.02))
        self.patch_embedding = stem(config) if config.stem else nn.Conv2d(3, config.dim, config.patch, config.patch)
        self.position_embedding = nn.Parameter(first_positions(config.grid, config.dim))

    def forward(self, pixels: Tensor) -> Tensor:
        patches = self.patch_embedding(pixels.to(self.class_embedding.dtype))  # [T, dim, H, W]
        positions = fit_positions(self.position_embedding, (patches.shape[2], patches.shape[3]))
        x = torch.cat([self.class_embedding.expand(len(pixels), -1, -1), patches.flatten(2).transpose(1, 2)], dim=1)
        return x + positions.to(x.dtype)  # [T, 1 + H * W, dim]


def stem(config: InternVit) -> nn.Sequential:
    """Give convolutions that halve the image one after another, each with a norm over all of it, and a last one to `dim`."""
    layers: list[nn.Module] = []
    for narrow, wide in pairwise((3, *config.stem)):
        layers += [nn.Conv2d(narrow, wide, 3, 2, 1), nn.GroupNorm(1, wide), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(config.stem[-1], config.dim, 1))


def first_positions(grid: int, dim: int) -> Tensor:
    """Give what learned positions [1, 1 + grid², dim] begin at: sines and cosines of row and column, the class token none.

    The published code begins with noise; sinusoids let a tower that is trained from random weights distinguish rows and
    columns at once.
    """
    count = dim // 4
    angles = torch.arange(grid)[:, None] * 10000.0 ** (-torch.arange(count) / max(1, count))
    waves = torch.cat([angles.sin(), angles.cos()], dim=1)  # [grid, dim / 2]
    square = torch.cat([waves[:, None].expand(-1, grid, -1), waves[None].expand(grid, -1, -1)], dim=2)
    return F.pad(0.5 * square.flatten(0, 1), (0, dim - 4 * count, 1, 0))[None]


def fit_positions(positions: Tensor, grid: tuple[int, int]) -> Tensor:
    """Stretch learned positions [1, 1 + side², D] to a grid of patches, bicubic and in float32: [1, 1 + H * W, D]."""
    side = round((positions.shape[1] - 1) ** 0.5)
    if (side, side) == grid:
        return positions
    square = positions[:, 1:].float().reshape(1, side, side, -1).permute(0, 3, 1, 2)  # [1, D, side, side]
    fitted = F.interpolate(square, size=grid, mode="bicubic", align_corners=False).flatten(2).transpose(1, 2)
    return torch.cat([positions[:, :1], fitted.to(positions.dtype)], dim=1)


class Layers(nn.Module):
    """The layers one after the other; nothing stands behind the last."""

    def __init__(self, config: InternVit) -> None:
        super().__init__()
        deepest = max(1, config.layers - 1)
        self.layers = nn.ModuleList(Layer(config, config.drop_path * index / deepest) for index in range(config.depth))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class Layer(nn.Module):
    """Attention and feed-forward, each behind its norm and scaled by a learned vector; `skipped` is the rate of drop path."""

    def __init__(self, config: InternVit, skipped: float) -> None:
        super().__init__()
        self.skipped = skipped
        self.attn = Attention(config)
        self.mlp = FeedForward(config.dim, config.ffn)
        self.norm1 = make_norm(config)
        self.norm2 = make_norm(config)
        self.ls1 = nn.Parameter(torch.full((config.dim,), config.layer_scale))
        self.ls2 = nn.Parameter(torch.full((config.dim,), config.layer_scale))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropped(self.attn(self.norm1(x)) * self.ls1)
        return x + self.dropped(self.mlp(self.norm2(x)) * self.ls2)

    def dropped(self, x: Tensor) -> Tensor:
        """While training, set whole rows [T, …] to zero and scale the others up, so that the mean stays."""
        if not self.training or not self.skipped:
            return x
        used = torch.rand(len(x), 1, 1, device=x.device) >= self.skipped
        return x * (used / (1.0 - self.skipped)).to(x.dtype)


class Attention(nn.Module):
    """Multi-head self-attention with one Linear for queries, keys and values."""

    def __init__(self, config: InternVit) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.dim, 3 * config.dim, bias=config.qkv_bias)
        self.q_norm = nn.RMSNorm(config.dim, config.eps) if config.qk_norm else nn.Identity()
        self.k_norm = nn.RMSNorm(config.dim, config.eps) if config.qk_norm else nn.Identity()
        self.proj = nn.Linear(config.dim, config.dim)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x).chunk(3, dim=2)  # each [T, N, dim]
        query, key, value = (part.unflatten(2, (self.heads, -1)).transpose(1, 2)  # [T, heads, N, dim / heads]
                             for part in (self.q_norm(query), self.k_norm(key), value))
        y = F.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.proj(y.transpose(1, 2).flatten(2))
        return out


class FeedForward(nn.Module):
    """Linear, exact GELU, Linear."""

    def __init__(self, dim: int, ffn: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, ffn)
        self.fc2 = nn.Linear(ffn, dim)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


def make_norm(config: InternVit) -> nn.Module:
    """Give the norm that the configuration names."""
    return nn.LayerNorm(config.dim, config.eps) if config.norm == "layer" else nn.RMSNorm(config.dim, config.eps)
