"""The Mel filter bank, CNN and transformer encoder from the wave on. Knows no text."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omnikit.types import Features, Signal
from omnikit_mel_cnn.config import MelCnn, subsampled
from omnikit_mel_cnn.fbank import Normalisation, blank, log_fbank


class MelCnnEncoder(nn.Module):
    """Waves [B, N] at 16 kHz to features [B, T, dim]."""

    def __init__(self, config: MelCnn) -> None:
        super().__init__()
        self.config = config
        self.normalisation = Normalisation(config.mel_bins, fixed=config.normalisation == "fixed")
        self.subsampling = Subsampling(config)
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.dim)

    def forward(self, signal: Signal) -> Features:
        mel, frames = self.listen(signal)
        x = self.subsampling(mel.to(self.norm.weight.dtype))  # [B, T, dim]
        x = x + positions(x.shape[1], self.config.dim, x.device).to(x.dtype)
        x = F.dropout(x, self.config.dropout, self.training)
        lengths = ((frames - 1) // 2 - 1).clamp(min=0) // 2  # subsampled twice
        # a row too short for a vector would leave attention nothing to look at (NaN): it looks at its padding instead
        valid = torch.arange(x.shape[1], device=x.device) < lengths.clamp(min=1)[:, None]
        for layer in self.layers:
            x = layer(x, valid[:, None, None])
        return Features(self.norm(x), lengths, self.config.output.rate)

    def listen(self, signal: Signal) -> tuple[Tensor, Tensor]:
        """Give the normalised mel [B, frames, bins] of a signal and the frames [B] of each row."""
        config, wave = self.config, signal.data * self.config.scale
        if self.training and config.gain_db:
            decibels = (2.0 * torch.rand(len(wave), 1, device=wave.device) - 1.0) * config.gain_db
            wave = wave * 10.0 ** (decibels / 20.0)
        if self.training and config.dither:
            wave = wave + config.dither * torch.randn_like(wave)
        mel = log_fbank(wave, config.mel_bins, config.frame, config.shift)
        frames = (1 + (signal.lengths - config.frame) // config.shift).clamp(min=0)
        mel = self.normalisation(mel, frames)
        if self.training:
            mel = blank(mel, 2, config.frequency_masks, config.frequency_mask_width)
            mel = blank(mel, 1, config.time_masks, config.time_mask_width)
        return mel, frames


class Subsampling(nn.Module):
    """Two 3x3 convolutions of stride 2 over time and mel bins, unpadded, so no row sees its padding; then a Linear."""

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
        self.attention = Attention(config.dim, config.heads)
        self.ffn_norm = nn.LayerNorm(config.dim)
        self.ffn = nn.Sequential(nn.Linear(config.dim, config.ffn), nn.ReLU(), nn.Linear(config.ffn, config.dim))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x + F.dropout(self.attention(self.attention_norm(x), mask), self.dropout, self.training)
        return x + F.dropout(self.ffn(self.ffn_norm(x)), self.dropout, self.training)


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.value, self.out = nn.Linear(dim, dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x [B, T, D], mask [B, 1, 1, T] True = to be looked at."""
        query, key, value = (
            project(x).unflatten(2, (self.heads, -1)).transpose(1, 2)  # [B, heads, T, D / heads]
            for project in (self.query, self.key, self.value)
        )
        y = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        out: Tensor = self.out(y.transpose(1, 2).flatten(2))
        return out


def positions(count: int, dim: int, device: torch.device) -> Tensor:
    """Sines and cosines by turns [count, dim], of wavelengths up to 2 pi 10000 (arXiv:1706.03762)."""
    frequencies = torch.exp(torch.arange(0, dim, 2, device=device) * (-math.log(10000.0) / dim))
    angles = torch.arange(count, device=device)[:, None] * frequencies  # [count, dim / 2]
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)
