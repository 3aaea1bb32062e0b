"""Waveforms to log-mel frames and back. Independent of units."""

import torch
from torch import Tensor, nn
from torchaudio.functional import melscale_fbanks

from omnikit_mel_units.config import MelUnits

MOMENTUM = 0.99  # fast Griffin-Lim (Perraudin et al. 2013)
BASS = 60.0  # Hz below which filters would be narrower than a frequency bin


class LogMel(nn.Module):
    """Owns window, mel filters and their inverse; none of them is trained or saved."""

    def __init__(self, config: MelUnits) -> None:
        super().__init__()
        self.config = config
        self.size = 1 << (config.window - 1).bit_length()  # of the Fourier transform, at least the window
        with torch.device("cpu"):  # torchaudio looks at values, of which the meta device has none
            filters = melscale_fbanks(self.size // 2 + 1, BASS, config.sample_rate / 2, config.mels, config.sample_rate,
                                      norm="slaney", mel_scale="slaney")  # [bins, mels]
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("hann", torch.hann_window(config.window), persistent=False)
        self.filters: Tensor
        self.hann: Tensor

    def forward(self, waveform: Tensor) -> Tensor:
        """waveform [N] to log10 band energies [ceil(N / (hop x stack)) x stack, mels]; silence fills the last stack."""
        step = self.config.hop * self.config.stack
        count = -(-len(waveform) // step) * self.config.stack
        if not count:
            return waveform.new_zeros(0, self.config.mels)
        padded = nn.functional.pad(waveform, (0, count * self.config.hop - len(waveform)))
        energy = self._spectrum(padded).abs().square()[:, :count]  # [bins, T]
        return (energy.T @ self.filters).clamp(min=self.config.floor).log10()

    def invert(self, frames: Tensor) -> Tensor:
        """Log10 band energies [T, mels] to a waveform [T x hop] with such a spectrum, always the same for the same frames."""
        length = len(frames) * self.config.hop
        if not length:
            return frames.new_zeros(0)
        energy = (10 ** frames - self.config.floor).clamp(min=0)
        magnitude = nn.functional.pad(self._bins(energy).sqrt().T, (0, 1))  # [bins, T + 1]: stft is centred
        return self._phases(magnitude, length).clamp(-1, 1)

    def _bins(self, energy: Tensor) -> Tensor:
        """Band energies [T, mels] to bin energies [T, bins], never negative, by multiplicative least squares."""
        bins = energy @ (self.filters / self.filters.sum(0)).T + 1e-12  # a rough start: spread each band over its bins
        gain, gram = energy @ self.filters.T, self.filters @ self.filters.T
        for _ in range(30):
            bins = bins * gain / (bins @ gram).clamp(min=1e-20)
        return bins

    def _phases(self, magnitude: Tensor, length: int) -> Tensor:
        """Fast Griffin-Lim from fixed random phases: the waveform [length] whose spectrum comes closest to `magnitude`."""
        fixed = torch.Generator().manual_seed(0)
        angles = torch.rand(magnitude.shape, generator=fixed).to(magnitude) * 2 * torch.pi
        phase, before = torch.polar(torch.ones_like(magnitude), angles), torch.zeros_like(angles)
        for _ in range(self.config.griffin_lim):
            rebuilt = self._spectrum(self._wave(magnitude * phase, length))
            phase = rebuilt - MOMENTUM / (1 + MOMENTUM) * before
            phase, before = phase / phase.abs().clamp(min=1e-12), rebuilt
        return self._wave(magnitude * phase, length)

    def _spectrum(self, waveform: Tensor) -> Tensor:
        return torch.stft(waveform, self.size, self.config.hop, self.config.window, self.hann, pad_mode="constant",
                          return_complex=True)

    def _wave(self, spectrum: Tensor, length: int) -> Tensor:
        return torch.istft(spectrum, self.size, self.config.hop, self.config.window, self.hann, length=length)
