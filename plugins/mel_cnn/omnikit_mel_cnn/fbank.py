"""Kaldi's log Mel filter bank for a batch of waveforms, its normalisation, and its blanking for training."""

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchaudio.compliance.kaldi import get_mel_banks
from torchaudio.functional import mask_along_axis_iid

from omnikit_mel_cnn.config import SAMPLE_RATE

PREEMPHASIS = 0.97  # this and the next three: defaults of torchaudio.compliance.kaldi.fbank (torchaudio 2.11)
LOWEST = 20.0  # Hz, lower edge of the lowest filter
POVEY = 0.85  # power of the Hann window
EPSILON = torch.finfo(torch.float32).eps  # smallest energy
FRESH_MEAN, FRESH_ISTD = 13.0, 0.3  # near those of VITA's fixed normalisation, scale 32768 (its configuration)
Numbers = tuple[list[float], list[float]]


def log_fbank(waveform: Tensor, bins: int, frame: int, shift: int) -> Tensor:
    """Give Kaldi's log Mel filter bank, in float32 whatever surrounds it.

    Equal to torchaudio.compliance.kaldi.fbank without dither, which takes one clip at a time.

    Args:
        waveform: [B, N] at 16 kHz.
        frame: samples of a frame.
        shift: samples between frames.

    Returns:
        [B, T, bins], T = 1 + (N - frame) // shift; 0 where N is below `frame`.
    """
    if waveform.shape[1] < frame:
        return waveform.new_zeros(len(waveform), 0, bins, dtype=torch.float32)
    with torch.autocast(waveform.device.type, enabled=False):
        frames = waveform.float().unfold(1, frame, shift)  # [B, T, frame]
        frames = frames - frames.mean(dim=2, keepdim=True)
        before = torch.cat([frames[..., :1], frames[..., :-1]], dim=2)
        window = torch.hann_window(frame, periodic=False, device=waveform.device).pow(POVEY)
        size = 1 << (frame - 1).bit_length()
        spectrum = torch.fft.rfft((frames - PREEMPHASIS * before) * window, size)  # [B, T, size / 2 + 1]
        power = spectrum.real.square() + spectrum.imag.square()
        energies = torch.matmul(power, filters(bins, size, waveform.device))
        return energies.clamp(min=EPSILON).log()


def blank(mel: Tensor, axis: int, masks: int, width: int) -> Tensor:
    """Set `masks` random stretches of at most `width` along `axis` of mel [B, T, bins] to 0, other ones in each row."""
    for _ in range(masks):
        mel = mask_along_axis_iid(mel, width + 1, 0.0, axis)  # the library draws widths below its argument
    return mel


class Normalisation(nn.Module):
    """Mean 0 and deviation 1 for each mel bin: of the clip itself, or with saved numbers."""

    mean: Tensor
    istd: Tensor

    def __init__(self, bins: int, *, fixed: bool, numbers: Numbers | None = None) -> None:
        super().__init__()
        self.fixed = fixed
        if fixed:
            mean, istd = numbers or ([FRESH_MEAN] * bins, [FRESH_ISTD] * bins)
            self.register_buffer("mean", torch.tensor(mean))
            self.register_buffer("istd", torch.tensor(istd))

    def forward(self, mel: Tensor, frames: Tensor) -> Tensor:
        """mel [B, T, bins] with `frames` [B] valid ones; the others become 0."""
        valid = (torch.arange(mel.shape[1], device=mel.device) < frames[:, None])[..., None]  # [B, T, 1]
        if self.fixed:
            return ((mel - self.mean.float()) * self.istd.float()).masked_fill(~valid, 0.0)
        count = frames.clamp(min=1)[:, None, None]
        mean = mel.masked_fill(~valid, 0.0).sum(dim=1, keepdim=True) / count
        centred = (mel - mean).masked_fill(~valid, 0.0)
        variance = centred.square().sum(dim=1, keepdim=True) / count
        return centred / (variance + 1e-3).sqrt()  # an even hum must not be blown up


@cache
def filters(bins: int, size: int, device: torch.device) -> Tensor:
    """Kaldi's mel filters [size / 2 + 1, bins]; no buffer, so that a model in bfloat16 computes them in float32."""
    with torch.inference_mode(False), torch.device("cpu"):
        banks, _ = get_mel_banks(bins, size, SAMPLE_RATE, LOWEST, 0.0, 100.0, -500.0, 1.0)
        return F.pad(banks, (0, 1)).T.contiguous().to(device)
