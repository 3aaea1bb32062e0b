"""Codec `mel_units`: sizes and contract. Uses no torch; `build` imports it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from omnikit.contracts.footprint import Footprint, convolution, linear
from omnikit.contracts.specs import CodecSpec

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class MelUnits:
    """K-means units over stacked log-mel frames, merged; a small network gives durations back, Griffin-Lim the waveform.

    It is fitted to waveforms in seconds (a stage with `objective: units`), so it needs no pretrained model.

    Args:
        units: different units (centroids).
        sample_rate: samples per second.
        hop: samples between two mel frames.
        window: samples under one window.
        mels: mel bands up to half the sample rate.
        stack: mel frames that make one unit.
        floor: band energies below it count as silence.
        iterations: rounds of k-means.
        frames: at most so many units' frames are clustered, of waveforms drawn at random; only these are read.
        duration_dim: width of the duration network.
        duration_steps: its training steps.
        griffin_lim: rounds of phase search.
    """

    units: int = 100
    sample_rate: int = 16000
    hop: int = 160
    window: int = 400
    mels: int = 80
    stack: int = 2
    floor: float = 1e-5
    iterations: int = 25
    frames: int = 30000
    duration_dim: int = 64
    duration_steps: int = 300
    griffin_lim: int = 32

    def __post_init__(self) -> None:
        for name in ("units", "sample_rate", "hop", "mels", "stack", "iterations", "duration_dim", "griffin_lim"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, but must be at least 1")
        if self.duration_steps < 0:
            raise ValueError(f"duration_steps is {self.duration_steps}, but must be 0 or more")
        if self.window < 2 * self.hop:
            raise ValueError(f"window is {self.window}, but must be at least 2 x hop ({2 * self.hop}) for windows to overlap")
        if self.floor <= 0:
            raise ValueError(f"floor is {self.floor}, but must be positive")
        if self.frames < self.units:
            raise ValueError(f"frames is {self.frames}, but must be at least units ({self.units})")

    @property
    def spec(self) -> CodecSpec:
        """One codebook, runs merged."""
        rate = Fraction(self.sample_rate, self.hop * self.stack)
        return CodecSpec(self.sample_rate, rate, 1, self.units, merged=True)

    @property
    def encodes(self) -> bool:
        """Waveforms become units."""
        return True

    @property
    def decodes(self) -> bool:
        """Units become waveforms."""
        return True

    @property
    def objectives(self) -> tuple[str, ...]:
        """What stages can fit it: `objective: units`."""
        return ("units",)

    def footprint(self) -> Footprint:
        """Give how large the duration network is; the centroids are no parameters."""
        dim = self.duration_dim
        return Footprint((self.units + 1) * dim + 2 * convolution(dim, dim, 5) + linear(dim, 1))

    def build(self) -> nn.Module:
        """Give the module, not yet fitted."""
        from omnikit_mel_units.model import MelUnitCodec

        return MelUnitCodec(self)
