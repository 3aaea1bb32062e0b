"""How far a generated wave is from the true one, by their spectra; always in float32. Uses no vocoder.

Sources: Parallel WaveGAN, arXiv:1910.11480 (multi-resolution STFT loss); HiFi-GAN, arXiv:2010.05646 (log-mel L1 loss).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

RESOLUTIONS = ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240))  # size, hop, window: Parallel WaveGAN, section 4.1
SIZE, HOP, MELS = 1024, 256, 80  # of the log-mel loss: HiFi-GAN, section 3.1
MEL_SIZES = ((512, 128, 40), (1024, 256, 80), (2048, 512, 160))  # size, hop, bands of the multi-scale one
FLOOR = 1e-5  # of magnitudes before the logarithm: HiFi-GAN's
QUIET = 0.01  # amplitude, -40 dB: a target is not taken for quieter, or what is made of silence would outweigh all speech


class STFTLoss(nn.Module):
    """Spectral convergence plus L1 of log magnitudes, averaged over the resolutions (size, hop, window).

    Convergence is the distance of the batch's spectra divided by their size, of which noise of amplitude QUIET is the least.
    """

    def __init__(self, resolutions: tuple[tuple[int, int, int], ...] = RESOLUTIONS) -> None:
        super().__init__()
        self.resolutions = resolutions
        for index, (_, _, window) in enumerate(resolutions):
            self.register_buffer(f"window{index}", torch.hann_window(window), persistent=False)

    def forward(self, found: Tensor, wanted: Tensor) -> Tensor:
        """Waves [B, N] and [B, N] to a scalar."""
        losses = []
        for index, (size, hop, _) in enumerate(self.resolutions):
            window = self.get_buffer(f"window{index}")
            made, true = (magnitudes(wave, size, hop, window) for wave in (found, wanted))  # [B, bins, T]
            least = QUIET * window.square().sum().mul(true.numel()).sqrt()  # the norm that such noise has on average
            convergence = (true - made).norm() / torch.maximum(true.norm(), least)
            losses.append(convergence + F.l1_loss(made.clamp(min=FLOOR).log(), true.clamp(min=FLOOR).log()))
        return torch.stack(losses).mean()


class MelLoss(nn.Module):
    """L1 between log-mel spectrograms.

    Args:
        rate: samples per second of the waves.
        size: samples of a window.
        hop: samples between two.
        mels: bands.
    """

    def __init__(self, rate: int, size: int = SIZE, hop: int = HOP, mels: int = MELS) -> None:
        super().__init__()
        self.hop = hop
        self.register_buffer("window", torch.hann_window(size), persistent=False)
        self.register_buffer("filters", mel_filters(rate, size, mels), persistent=False)
        self.window: Tensor
        self.filters: Tensor

    def forward(self, found: Tensor, wanted: Tensor) -> Tensor:
        """Waves [B, N] and [B, N] to a scalar."""
        return F.l1_loss(self.log_mel(found), self.log_mel(wanted))

    def log_mel(self, waves: Tensor) -> Tensor:
        """Waves [B, N] to natural logarithms of mel magnitudes [B, mels, T]."""
        return (self.filters @ magnitudes(waves, len(self.window), self.hop, self.window)).clamp(min=FLOOR).log()


class ScaledMelLoss(nn.Module):
    """MelLoss averaged over several windows: long ones tell pitches apart, short ones moments.

    Args:
        rate: samples per second of the waves.
    """

    def __init__(self, rate: int) -> None:
        super().__init__()
        self.scales = nn.ModuleList(MelLoss(rate, size, hop, mels) for size, hop, mels in MEL_SIZES)

    def forward(self, found: Tensor, wanted: Tensor) -> Tensor:
        """Waves [B, N] and [B, N] to a scalar."""
        return torch.stack([scale(found, wanted) for scale in self.scales]).mean()


def magnitudes(waves: Tensor, size: int, hop: int, window: Tensor) -> Tensor:
    """Waves [B, N] to magnitudes [B, size / 2 + 1, T], with a gradient that is finite in silence too."""
    with torch.autocast(waves.device.type, enabled=False):
        spectrum = torch.stft(waves.float(), size, hop, len(window), window, pad_mode="constant", return_complex=True)
        power = spectrum.real.square() + spectrum.imag.square()
        return power.clamp(min=1e-9).sqrt()


def mel_filters(rate: int, size: int, mels: int) -> Tensor:
    """Triangles of unit area [mels, size / 2 + 1], evenly spread over Slaney's mel scale from 0 Hz to rate / 2."""
    corners = _hertz(torch.linspace(0, _mel(rate / 2), mels + 2, dtype=torch.float64))
    bins = torch.linspace(0, rate / 2, size // 2 + 1, dtype=torch.float64)
    rising = (bins - corners[:-2, None]) / (corners[1:-1] - corners[:-2])[:, None]
    falling = (corners[2:, None] - bins) / (corners[2:] - corners[1:-1])[:, None]
    area = 2 / (corners[2:] - corners[:-2])[:, None]
    return (torch.minimum(rising, falling).clamp(min=0) * area).float()


def _mel(hertz: float) -> float:
    """Slaney's scale: a line up to 1 kHz, a logarithm above."""
    return 3 * hertz / 200 if hertz < 1000 else 15 + math.log(hertz / 1000) * 27 / math.log(6.4)


def _hertz(mel: Tensor) -> Tensor:
    return torch.where(mel < 15, mel * 200 / 3, 1000 * ((mel - 15) * math.log(6.4) / 27).exp())
