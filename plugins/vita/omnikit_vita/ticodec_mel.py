"""Input of an encoder of `ticodec` instead of the waveform: log-mel frames. It has no weights."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnikit_vita.ticodec import TiCodec

FLOOR = 1e-5  # band energies below it count as silence
MEAN, SCALE = -5.0, 4.0  # about the mean and deviation of log energies of speech at this floor, so that frames are near 0 and 1


class LogMel(nn.Module):
    """Log energies in bands of equal width in mel (2595 log10(1 + f / 700)), one frame per `mel_hop` samples."""

    def __init__(self, config: TiCodec) -> None:
        super().__init__()
        self.hop, self.size = config.mel_hop, 4 * config.mel_hop
        self.register_buffer("window", torch.hann_window(self.size), persistent=False)
        self.register_buffer("bands", triangles(config.mel_bands, self.size, config.sample_rate), persistent=False)

    def forward(self, waveforms: Tensor) -> Tensor:
        """Waveforms [B, N] to frames [B, bands, N // hop]; samples t x hop to (t + 1) x hop are the middle of frame t."""
        side = (self.size - self.hop) // 2
        padded = F.pad(waveforms, (side, self.size - self.hop - side))
        with torch.autocast(waveforms.device.type, enabled=False):
            spectra = torch.stft(padded.float(), self.size, self.hop, window=self.get_buffer("window"), center=False,
                                 return_complex=True).abs()  # [B, size / 2 + 1, T]
            energies = self.get_buffer("bands") @ spectra
        return (energies.clamp(min=FLOOR).log() - MEAN) / SCALE


def triangles(count: int, size: int, sample_rate: int) -> Tensor:
    """Give `count` triangular filters [count, size / 2 + 1] from 0 Hz to half the sample rate, each of area 1 in bins."""
    top = 2595 * math.log10(1 + sample_rate / 2 / 700)
    edges = 700 * (10 ** (torch.linspace(0, 1, count + 2, dtype=torch.float64) * top / 2595) - 1)
    bins = torch.arange(size // 2 + 1, dtype=torch.float64, device=edges.device) * sample_rate / size
    rise = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    filters = torch.minimum(rise, fall).clamp(min=0)
    filters = filters / filters.sum(1, keepdim=True).clamp(min=1e-9)
    return filters.float()
