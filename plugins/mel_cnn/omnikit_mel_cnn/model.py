"""The Mel filter bank, CNN and transformer encoder from the waveform on. Takes no text.

Names of the weights: normalisation.{mean,istd}, subsampling.{conv1,conv2,project}, embed.{0,1}, layers.N.{attention_norm,
attention.{query,key,value,out,position,bias_u,bias_v}, concat, ffn_norm, ffn.{0,2}}, norm.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omnikit.contracts.types import Features, Signal
from omnikit_mel_cnn.cmvn import read_cmvn
from omnikit_mel_cnn.config import OVERLAP, MelCnn
from omnikit_mel_cnn.fbank import Normalisation, blank, log_fbank
from omnikit_mel_cnn.layers import EncoderLayer, Subsampling, chunk_mask, drawn_chunks, sines
from omnikit_mel_cnn.streaming import StreamState, advance, begin


class MelCnnEncoder(nn.Module):
    """Waveforms [B, N] at 16 kHz to features [B, T, dim]."""

    def __init__(self, config: MelCnn) -> None:
        super().__init__()
        self.config, dim = config, config.dim
        numbers = None if config.cmvn is None else read_cmvn(config.cmvn, config.mel_bins)
        self.normalisation = Normalisation(config.mel_bins, fixed=config.normalisation == "fixed", numbers=numbers)
        self.subsampling = Subsampling(config)
        embed = [nn.Linear(dim, dim), nn.LayerNorm(dim), nn.Dropout(config.dropout), nn.ReLU()] if config.embed else []
        self.embed = nn.Sequential(*embed)
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(dim)

    def forward(self, signal: Signal) -> Features:
        return self.encode(*self.mel_frames(signal))

    def init_state(self, batch: int) -> StreamState:
        """Give the state of `batch` clips without input so far; raises ConfigError if the encoder needs whole clips."""
        return begin(self, batch)

    def step(self, signal: Signal, state: StreamState, *, last: bool = False) -> tuple[Features, StreamState]:
        """Give the output frames that new samples [B, n] complete; with `last` all of the clip's. Any cutting gives the same.

        Raises:
            DataError: rows have unequal lengths, or the stream is longer than positions reach.
        """
        return advance(self, signal, state, last=last)

    def mel_frames(self, signal: Signal) -> tuple[Tensor, Tensor]:
        """Give the normalised mel [B, frames, bins] of a signal and the frames [B] of each row."""
        config = self.config
        waveform = F.pad(self.loudness(signal.data), (config.silence, 0))
        mel = log_fbank(waveform, config.mel_bins, config.frame, config.shift)
        frames = (1 + (signal.lengths + config.silence - config.frame) // config.shift).clamp(min=0)
        if config.lead:
            mel, frames = F.pad(mel, (0, 0, OVERLAP, 0)), frames + OVERLAP
        mel = self.normalisation(mel, frames)
        if self.training:
            mel = blank(mel, 2, config.frequency_masks, config.frequency_mask_width)
            mel = blank(mel, 1, config.time_masks, config.time_mask_width)
        return mel, frames

    def loudness(self, waveform: Tensor) -> Tensor:
        """Scale a waveform [B, N]; while training also change its loudness and dither it."""
        config, waveform = self.config, waveform * self.config.scale
        if self.training and config.gain_db:
            decibels = (2.0 * torch.rand(len(waveform), 1, device=waveform.device) - 1.0) * config.gain_db
            waveform = waveform * 10.0 ** (decibels / 20.0)
        if config.dither and (self.training or config.dither_always):
            waveform = waveform + config.dither * torch.randn_like(waveform)
        return waveform

    def encode(self, mel: Tensor, frames: Tensor) -> Features:
        """Normalised mel [B, frames, bins] with `frames` [B] valid ones to features."""
        x = self.place(self.reduce(mel), 0)
        lengths = ((frames - 1) // 2 - 1).clamp(min=0) // 2  # subsampled twice
        mask, positions = self.mask(x.shape[1], lengths), sines(0, x.shape[1], self.config.dim, x.device)
        for layer in self.layers:
            x, _ = layer(x, mask, positions)
        return Features(self.norm(x), lengths, self.config.output.rate)

    def reduce(self, mel: Tensor) -> Tensor:
        """mel [B, frames, bins] to output frames [B, T, dim], each of seven frames, four on from the one before."""
        subsampled: Tensor = self.subsampling(mel.to(self.norm.weight.dtype))
        return subsampled

    def place(self, x: Tensor, first: int) -> Tensor:
        """Make output frames [B, T, dim], the first of them number `first`, what the layers read."""
        x = self.embed(x)
        if self.config.positions != "absolute":
            x = x * math.sqrt(self.config.dim)
        if self.config.positions != "relative":
            x = x + sines(first, x.shape[1], self.config.dim, x.device).to(x.dtype)
        return F.dropout(x, self.config.dropout, self.training)

    def mask(self, count: int, lengths: Tensor) -> Tensor:
        """Give the attention mask: [B, 1, 1 or T, T], T = count."""
        config = self.config
        valid = torch.arange(count, device=lengths.device) < lengths[:, None]  # [B, T]
        chunk, left = config.chunk_size, config.left_chunks
        if config.dynamic == "always" or (config.dynamic == "training" and self.training):
            chunk, left = drawn_chunks(count)
        if chunk is None:
            return valid[:, None, None]
        return valid[:, None, None] & chunk_mask(count, chunk, left, valid.device)
