"""Whisper's encoder from the waveform on, with the parameter names of transformers. Takes no text, holds no decoder."""

import logging
import math
from fractions import Fraction
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omnikit.contracts.types import Features, Signal
from omnikit.errors import DataError
from omnikit.ops.empty import filled_from, loads_weights
from omnikit_whisper.config import SAMPLE_RATE, Whisper
from omnikit_whisper.mel import blank, log_mel
from omnikit_whisper.weights import load_weights


@cache
def warn_cut(seconds: float) -> None:
    """Log once that clips are cut, as the original does it in silence."""
    logging.getLogger(__name__).warning("whisper cuts clips to %g s, its field `seconds`; what follows is dropped.", seconds)


class WhisperEncoder(nn.Module):
    """Waveforms [B, N] at 16 kHz to features [B, T, dim], one for each step of the config (50 a second in Whisper).

    Its state dict is what a transformers checkpoint holds behind `model.encoder.`.
    """

    def __init__(self, config: Whisper) -> None:
        super().__init__()
        self.config = config
        with filled_from(config.weights):
            self.conv1 = nn.Conv1d(config.mel_bins, config.dim, config.kernel, config.strides[0], config.kernel // 2)
            self.conv2 = nn.Conv1d(config.dim, config.dim, config.kernel, config.strides[1], config.kernel // 2)
            self.embed_positions = Positions(config.positions, config.dim)
            self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.layers))
            self.layer_norm = nn.LayerNorm(config.dim)
        if config.weights is not None and loads_weights():
            load_weights(self, config.weights, config.weights_prefix)

    def forward(self, signal: Signal) -> Features:
        mel, lengths = self.mel_frames(signal)
        rate = Fraction(SAMPLE_RATE, self.config.step) if self.config.window is None else None
        return Features(self.encode(mel, lengths), lengths, rate)

    def mel_frames(self, signal: Signal) -> tuple[Tensor, Tensor]:
        """Give the log-mel [B, bins, F] of a signal and the output frames [B] of each row; F / T mel frames make one."""
        config, waveform, step = self.config, signal.data, self.config.step
        inside = torch.arange(waveform.shape[1], device=waveform.device) < signal.lengths[:, None]
        waveform = waveform.float().masked_fill(~inside, 0.0)
        if self.training and config.gain_db:
            decibels = (2.0 * torch.rand(len(waveform), 1, device=waveform.device) - 1.0) * config.gain_db
            waveform = waveform * 10.0 ** (decibels / 20.0)
        if config.window is not None:
            samples, extra = config.window * step, 0
            if waveform.shape[1] > samples:
                warn_cut(samples / SAMPLE_RATE)
            lengths = torch.full_like(signal.lengths, config.window)
        else:  # silence after the end, which a longer row of the batch would bring as well
            samples, extra = -(-waveform.shape[1] // step) * step, max(2 * step, 320)
            lengths = (signal.lengths + step - 1) // step
        waveform = F.pad(waveform[:, :samples], (0, samples + extra - min(waveform.shape[1], samples)))
        mel = log_mel(waveform, lengths * (step // config.hop), config.mel_bins, config.hop)[..., : samples // config.hop]
        if self.training:
            mel = blank(mel, 1, config.frequency_masks, config.frequency_mask_width)
            mel = blank(mel, 2, config.time_masks, config.time_mask_width)
        return mel, lengths

    def encode(self, mel: Tensor, lengths: Tensor) -> Tensor:
        """Give the output frames [B, T, dim] of log-mel [B, bins, F], which is 0 beyond those of `lengths` [B].

        Raises:
            DataError: there are more output frames than positions.
        """
        x = F.gelu(self.conv1(mel.to(self.conv1.weight.dtype)))  # [B, dim, T * strides[1]]
        if self.config.window is None:  # what the first convolution spills beyond a row's end, the row alone would not see
            inside = torch.arange(x.shape[2], device=x.device) < self.config.strides[1] * lengths[:, None]
            x = x * inside[:, None]
        x = F.gelu(self.conv2(x)).transpose(1, 2)  # [B, T, dim]
        count, most = x.shape[1], self.config.positions
        if count > most:
            raise DataError(f"A clip gives {count} frames, but whisper's positions end at {most}; cut it to "
                            f"{most * self.config.step / SAMPLE_RATE:g} s or set `positions` higher.")
        x = F.dropout(x + self.embed_positions(count), self.config.dropout, self.training)
        mask = None
        if self.config.window is None:
            # a row without samples would leave attention nothing to look at (NaN): it looks at its padding instead
            mask = (torch.arange(count, device=x.device) < lengths.clamp(min=1)[:, None])[:, None, None]  # [B, 1, 1, T]
        for layer in self.layers:
            x = layer(x, mask)
        out: Tensor = self.layer_norm(x)
        return out


class Positions(nn.Module):
    """Sines, then cosines; a buffer under the name that transformers gives the (never trained) embedding."""

    weight: Tensor

    def __init__(self, count: int, dim: int) -> None:
        super().__init__()
        frequencies = torch.exp(torch.arange(dim // 2) * (-math.log(10000.0) / (dim // 2 - 1)))
        angles = torch.arange(count)[:, None] * frequencies  # [count, dim / 2]
        self.register_buffer("weight", torch.cat([angles.sin(), angles.cos()], dim=1))

    def forward(self, count: int) -> Tensor:
        return self.weight[:count]


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward, each behind its LayerNorm."""

    def __init__(self, config: Whisper) -> None:
        super().__init__()
        self.dropout = config.dropout
        self.self_attn = Attention(config.dim, config.heads)
        self.self_attn_layer_norm = nn.LayerNorm(config.dim)
        self.fc1 = nn.Linear(config.dim, config.ffn)
        self.fc2 = nn.Linear(config.ffn, config.dim)
        self.final_layer_norm = nn.LayerNorm(config.dim)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = x + F.dropout(self.self_attn(self.self_attn_layer_norm(x), mask), self.dropout, self.training)
        y = self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))
        return x + F.dropout(y, self.dropout, self.training)


class Attention(nn.Module):
    """Multi-head self-attention; the key has no bias, as in Whisper."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.k_proj = nn.Linear(dim, dim, bias=False)
        self.v_proj = nn.Linear(dim, dim)
        self.q_proj = nn.Linear(dim, dim)
        self.out_proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """x [B, T, D], mask [B, 1, 1, T] True = to be looked at."""
        query, key, value = (
            project(x).unflatten(2, (self.heads, -1)).transpose(1, 2)  # [B, heads, T, D / heads]
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        y = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        out: Tensor = self.out_proj(y.transpose(1, 2).flatten(2))
        return out
