"""The settings and contract of the Mel filter bank, CNN and transformer encoder. Imports no torch."""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

from omnikit.errors import DataError
from omnikit.specs import FeatureSpec, SignalSpec

if TYPE_CHECKING:
    from omnikit_mel_cnn.model import MelCnnEncoder

SAMPLE_RATE = 16000  # Hz
SUBSAMPLING = 4  # two convolutions of stride 2


@dataclass(frozen=True)
class MelCnn:
    """Kaldi's log Mel filter bank, two strided 3x3 convolutions, a transformer: waves in, 25 vectors a second out.

    Args:
        dim: width of the vectors.
        ffn: width inside the feed-forward layers.
        channels: of the two convolutions.
        frame_length_ms: what one mel frame sees.
        frame_shift_ms: from one mel frame to the next; the vectors are four times as far apart.
        scale: the wave, in [-1, 1], is multiplied by this; Kaldi's is 32768.
        dither: noise on each sample while training, in units of the scaled wave.
        normalisation: mean and deviation of each mel bin, from the clip itself or fixed (saved with the weights).
        dropout: share of activations dropped while training.
        time_masks: how many stretches of time are blanked while training (SpecAugment, arXiv:1904.08779).
        time_mask_width: longest such stretch in mel frames.
        frequency_masks: how many bands of mel bins are blanked while training.
        frequency_mask_width: widest such band in mel bins.
        gain_db: while training a clip becomes louder or softer by up to this many decibels.
    """

    dim: int = 128
    layers: int = 3
    heads: int = 4
    ffn: int = 512
    channels: int = 32
    mel_bins: int = 80
    frame_length_ms: int = 25
    frame_shift_ms: int = 10
    scale: float = 1.0
    dither: float = 0.0
    normalisation: Literal["clip", "fixed"] = "clip"
    dropout: float = 0.0
    time_masks: int = 0
    time_mask_width: int = 20
    frequency_masks: int = 0
    frequency_mask_width: int = 16
    gain_db: float = 0.0

    def __post_init__(self) -> None:
        for name in ("dim", "layers", "heads", "ffn", "channels", "frame_length_ms", "frame_shift_ms"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, but must be at least 1")
        masks = ("time_masks", "time_mask_width", "frequency_masks", "frequency_mask_width")
        for name in (*masks, "dither", "gain_db"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}, but must be at least 0")
        if self.mel_bins < 7:
            raise ValueError(f"mel_bins is {self.mel_bins}, but must be at least 7 for two convolutions of stride 2")
        if self.dim % self.heads:
            raise ValueError(f"heads is {self.heads}, but must divide dim, which is {self.dim}")
        if self.dim % 2:
            raise ValueError(f"dim is {self.dim}, but must be even for sine and cosine positions")
        if self.scale <= 0:
            raise ValueError(f"scale is {self.scale}, but must be above 0")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout is {self.dropout}, but must be at least 0 and below 1")

    @property
    def input(self) -> SignalSpec:
        return SignalSpec("audio", Fraction(SAMPLE_RATE))

    @property
    def output(self) -> FeatureSpec:
        return FeatureSpec(self.dim, rate=Fraction(1000, self.frame_shift_ms * SUBSAMPLING), lookahead=math.inf)

    @property
    def frame(self) -> int:
        """Samples of a mel frame."""
        return self.frame_length_ms * SAMPLE_RATE // 1000

    @property
    def shift(self) -> int:
        """Samples between two mel frames."""
        return self.frame_shift_ms * SAMPLE_RATE // 1000

    def length(self, samples: int) -> int:
        """Give the exact number of vectors; edges are not padded, so the last few samples may add none.

        Raises:
            DataError: the clip is too short for one vector.
        """
        frames = 1 + (samples - self.frame) // self.shift
        count = subsampled(subsampled(frames))
        if count < 1:
            least = (self.frame + 6 * self.shift) / SAMPLE_RATE  # 7 frames give 3, then 1
            raise DataError(f"A clip is {samples / SAMPLE_RATE:.3f} s long, but mel_cnn needs at least {least:.3f} s; "
                            "pad it with silence or drop it.")
        return count

    def build(self) -> "MelCnnEncoder":
        from omnikit_mel_cnn.model import MelCnnEncoder

        return MelCnnEncoder(self)


def subsampled(count: int) -> int:
    """Give how many places a convolution of width 3 and stride 2 without padding finds."""
    return (count - 1) // 2
