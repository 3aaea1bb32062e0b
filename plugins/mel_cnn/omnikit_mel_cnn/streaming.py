"""The encoder chunk by chunk: its state, and one step. Holds no session.

However the waveform is cut, the frames are those that the encoder gives for the whole clip with its chunk_size and left_chunks:
layers cache keys and values of left_chunks * chunk_size positions, and a key keeps its true position.

Freeze-Omni's encoder (goldens/streaming_speech_encoder) is this with `lead: true` and `restart: true`: from its chunk number
left_chunks + 1 on (the first is 0) positions begin at place - (left_chunks + 1) * chunk_size, one chunk before the first kept
key, so every key seems a chunk older than it is. Up to there streamed equals offline, behind it only with `restart: false`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from omnikit.contracts.types import Features, Signal
from omnikit.errors import ConfigError, DataError
from omnikit_mel_cnn.config import OVERLAP, SAMPLE_RATE, SUBSAMPLING, TABLE, subsampled
from omnikit_mel_cnn.fbank import log_fbank
from omnikit_mel_cnn.layers import Cache, sines

if TYPE_CHECKING:
    from omnikit_mel_cnn.model import MelCnnEncoder


@dataclass(frozen=True)
class StreamState:
    """State of the waveform so far; all rows have the same length.

    Args:
        waveform: scaled samples [B, n] that the next mel frame begins with.
        mel: normalised mel frames [B, m, bins] that the next vector begins with.
        caches: of each layer, keys and values of the positions that the next chunk attends to.
        count: output frames so far.
    """

    waveform: Tensor
    mel: Tensor
    caches: tuple[Cache, ...]
    count: int = 0


def begin(encoder: MelCnnEncoder, batch: int) -> StreamState:
    """Give the state of `batch` clips without input so far.

    Raises:
        ConfigError: the encoder needs the whole clip.
    """
    config, weight = encoder.config, encoder.norm.weight
    if config.chunk_size is None or config.normalisation == "clip" or config.dynamic == "always":
        field = ("chunk_size is null" if config.chunk_size is None else "normalisation is clip"
                 if config.normalisation == "clip" else "dynamic is always")
        raise ConfigError(f"This mel_cnn cannot stream: {field}, so it needs the whole clip; set a chunk_size, "
                          "normalisation to fixed and dynamic to never or training.")
    frames = OVERLAP * config.lead
    mel = torch.zeros(batch, frames, config.mel_bins, device=weight.device)
    mel = encoder.normalisation(mel, torch.full((batch,), frames, device=weight.device))
    nothing = torch.zeros(batch, config.heads, 0, config.dim // config.heads, device=weight.device, dtype=weight.dtype)
    caches = ((nothing, nothing),) * config.layers
    return StreamState(torch.zeros(batch, config.silence, device=weight.device), mel, caches)


def advance(encoder: MelCnnEncoder, signal: Signal, state: StreamState, *, last: bool) -> tuple[Features, StreamState]:
    """Give the output frames of every chunk that is complete; with `last` also those of the incomplete one.

    Raises:
        DataError: rows have unequal lengths, or the stream is longer than positions reach.
    """
    if bool((signal.lengths != signal.data.shape[1]).any()):
        raise DataError(f"A chunk has rows of {signal.lengths.tolist()} samples, but rows that stream together must have "
                        "equally much; give each a state of its own.")
    config = encoder.config
    size = SUBSAMPLING * (config.chunk_size or 1)
    waveform, mel = _frames(encoder, torch.cat([state.waveform, encoder.loudness(signal.data)], dim=1))
    mel = torch.cat([state.mel, mel], dim=1)
    caches, count, found = state.caches, state.count, list[Tensor]()
    while mel.shape[1] >= size + OVERLAP or (last and subsampled(subsampled(mel.shape[1])) > 0):
        x, caches = chunk(encoder, mel[:, : size + OVERLAP], caches, count)
        count, mel = count + x.shape[1], mel[:, size:]
        found.append(x)
    empty = state.caches[0][0].new_zeros(len(waveform), 0, config.dim)
    data = torch.cat([empty, *found], dim=1)
    lengths = torch.full((len(waveform),), data.shape[1], device=waveform.device)
    return Features(data, lengths, config.output.rate), StreamState(waveform, mel, caches, count)


def _frames(encoder: MelCnnEncoder, waveform: Tensor) -> tuple[Tensor, Tensor]:
    """Give what is left of a scaled waveform [B, n], and the normalised mel frames in it."""
    config = encoder.config
    count = max(0, 1 + (waveform.shape[1] - config.frame) // config.shift)
    mel = log_fbank(waveform, config.mel_bins, config.frame, config.shift)
    counts = torch.full((len(waveform),), count, device=waveform.device)
    return waveform[:, count * config.shift:], encoder.normalisation(mel, counts)


def chunk(encoder: MelCnnEncoder, mel: Tensor, caches: tuple[Cache, ...], count: int) -> tuple[Tensor, tuple[Cache, ...]]:
    """Give the output frames of one chunk of mel frames, after `count` earlier ones."""
    config = encoder.config
    x = encoder.reduce(mel)
    if config.positions == "relative" and count + x.shape[1] >= TABLE:
        raise DataError(f"A stream is longer than the {TABLE * SUBSAMPLING * config.shift / SAMPLE_RATE:.0f} s that mel_cnn "
                        "with relative positions takes; begin a new state.")
    x, cached = encoder.place(x, count), caches[0][0].shape[2]
    first = count - cached
    if config.restart and config.chunk_size and config.left_chunks is not None:
        first = max(0, count - (config.left_chunks + 1) * config.chunk_size)
    positions = sines(first, cached + x.shape[1], config.dim, x.device)
    mask = torch.ones(1, 1, 1, len(positions), dtype=torch.bool, device=x.device)
    new = []
    for layer, cache in zip(encoder.layers, caches, strict=True):
        x, (key, value) = layer(x, mask, positions, cache)
        old = 0 if config.left_chunks is None else max(0, key.shape[2] - config.left_chunks * (config.chunk_size or 1))
        new.append((key[:, :, old:], value[:, :, old:]))
    return encoder.norm(x), tuple(new)
