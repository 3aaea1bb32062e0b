"""Codec `encodec`: sizes and contract. Imports no torch; `build` imports it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from omnikit.contracts.footprint import Footprint
from omnikit.contracts.specs import CodecSpec

if TYPE_CHECKING:
    from torch import nn

HOP = 320  # samples of a frame: the product of the ratios 8, 5, 4, 2
CARDINALITY = 1024
IMPORTS = 60 * 2**20  # bytes of encodec and torchaudio in a process, about
BITS = 10  # of a code
SEGMENT, STRIDE = 48000, 47520  # samples of a segment of the 48 kHz model and between two: 1 s and 99 % of it
# kbit/s of each model; the package has all but the first, which is one codebook
BANDWIDTHS = {24000: (0.75, 1.5, 3.0, 6.0, 12.0, 24.0), 48000: (1.5, 3.0, 6.0, 12.0, 24.0)}


@dataclass(frozen=True)
class Encodec:
    """Residual codes of Meta's EnCodec, from its package `encodec`: 24 kHz causal or 48 kHz in overlapping segments.

    Codes are [T] of one codebook, else [T, codebooks]. The 48 kHz model is stereo: a mono waveform goes in on both sides and
    their mean comes out; and it has the loudness of each segment beside the codes, which a head cannot give.

    Args:
        sample_rate: 24000 or 48000; each is a model of its own.
        bandwidth: kbit/s, which decides how many codebooks: 0.75 kbit/s each at 24 kHz, 1.5 at 48 kHz. The lowest, one
            codebook, is not a setting of the package: the first codebook of a model that was trained with two or more.
        loudness: root mean square of each segment that the 48 kHz model makes of codes alone.
        width: channels after the first convolution; of the published models 32.
        dim: width of a codebook's vectors; of the published models 128.
        weights: file of a published state dict, torch or safetensors; None for random weights.

    Source: arXiv:2210.13438.
    """

    sample_rate: int = 24000
    bandwidth: float = 1.5
    loudness: float = 0.1
    width: int = 32
    dim: int = 128
    weights: str | None = None

    def __post_init__(self) -> None:
        if self.sample_rate not in BANDWIDTHS:
            raise ValueError(f"sample_rate is {self.sample_rate}, but must be 24000 or 48000")
        if self.bandwidth not in BANDWIDTHS[self.sample_rate]:
            raise ValueError(f"bandwidth is {self.bandwidth:g}, but at {self.sample_rate} Hz must be one of"
                             f" {', '.join(f'{known:g}' for known in BANDWIDTHS[self.sample_rate])}")
        if not 0 < self.loudness < math.inf:
            raise ValueError(f"loudness is {self.loudness:g}, but must be above 0")
        for name in ("width", "dim"):
            if getattr(self, name) < 2:
                raise ValueError(f"{name} is {getattr(self, name)}, but must be at least 2")

    @property
    def overlapping(self) -> bool:
        """Whether waveforms are cut into overlapping segments."""
        return self.sample_rate == 48000

    @property
    def frame_rate(self) -> int:
        """Frames of a second that is coded alone."""
        return self.sample_rate // HOP

    @property
    def spec(self) -> CodecSpec:
        """As many codebooks as the bandwidth pays for. Segments overlap, so a second takes 150 / 0.99 frames at 48 kHz."""
        rate = Fraction(SEGMENT // HOP * self.sample_rate, STRIDE) if self.overlapping else Fraction(self.frame_rate)
        return CodecSpec(self.sample_rate, rate, round(1000 * self.bandwidth / (self.frame_rate * BITS)), CARDINALITY)

    @property
    def encodes(self) -> bool:
        """Waveforms become codes."""
        return True

    @property
    def decodes(self) -> bool:
        """Codes become waveforms."""
        return True

    @property
    def objectives(self) -> tuple[str, ...]:
        """It comes with its weights."""
        return ()

    def footprint(self) -> Footprint:
        """Give how large encoder and decoder are, by the package's SEANet; codebooks are no parameters, and none is trained."""
        channels, normed = (2, 2) if self.overlapping else (1, 0)  # a group norm has two parameters for each channel

        def conv(inputs: int, outputs: int, kernel: int) -> int:
            return inputs * outputs * kernel + (1 + normed) * outputs

        total, wide = conv(channels, self.width, 7) + conv(self.width, channels, 7), self.width
        for ratio in (2, 4, 5, 8):
            block = conv(wide, wide // 2, 3) + conv(wide // 2, wide, 1) + conv(wide, wide, 1)
            total += 2 * block + conv(wide, 2 * wide, 2 * ratio) + conv(2 * wide, wide, 2 * ratio)
            wide *= 2
        recurrent = 2 * 8 * (wide**2 + wide)  # two layers
        return Footprint(total + 2 * recurrent + conv(wide, self.dim, 7) + conv(self.dim, wide, 7), imports=IMPORTS)

    def build(self) -> nn.Module:
        """Give the module; raises ConfigError if the weights do not fit."""
        from omnikit_encodec.model import EncodecCodec

        return EncodecCodec(self)
