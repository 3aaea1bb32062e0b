"""The settings and contract of the Mel filter bank, CNN and transformer encoder. Imports no torch."""

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

from omnikit.contracts.footprint import Footprint, Matrix, Saved, convolution, linear
from omnikit.contracts.specs import LATER, FeatureSpec, SignalSpec
from omnikit.errors import DataError

if TYPE_CHECKING:
    from omnikit_mel_cnn.model import MelCnnEncoder

SAMPLE_RATE = 16000  # Hz
SUBSAMPLING = 4  # two convolutions of stride 2
OVERLAP = 3  # mel frames that an output frame depends on beyond its own time
TABLE = 5000  # rows of VITA's table of positions


@dataclass(frozen=True)
class MelCnn:
    """Kaldi's log Mel filter bank, two strided 3x3 convolutions, a transformer: waveforms in, 25 frames a second out.

    Args:
        dim: width of the frames.
        ffn: width inside the feed-forward layers.
        channels: of the two convolutions.
        frame_length_ms: window of one mel frame.
        frame_shift_ms: from one mel frame to the next; the frames are four times as far apart.
        scale: the waveform, in [-1, 1], is multiplied by this; Kaldi's is 32768.
        dither: noise on each sample while training, in units of the scaled waveform.
        normalisation: mean and deviation of each mel bin, from the clip itself or fixed (saved with the weights).
        dropout: fraction of activations dropped while training.
        time_masks: how many stretches of time are blanked while training (SpecAugment, arXiv:1904.08779).
        time_mask_width: longest such stretch in mel frames.
        frequency_masks: how many bands of mel bins are blanked while training.
        frequency_mask_width: widest such band in mel bins.
        gain_db: while training a clip becomes louder or softer by up to this many decibels.
        dither_always: dither outside training too, as VITA's front end does; then no answer is like another.
        cmvn: file of the statistics that normalisation `fixed` starts with, as JSON or Kaldi's text (see omnikit_mel_cnn.cmvn).
        lead: silence before the clip (a mel frame's overlap, then three frames of 0), so that a frame is there when its own
            time is over; as Freeze-Omni's front end begins.
        embed: Linear, LayerNorm and ReLU before the layers.
        positions: `absolute`: sines added to the frames; `absolute_scaled`: to the frames times sqrt(dim), as WeNet and the
            `abs-enc` of VITA's encoder have it; or VITA's `relative` ones: frames times sqrt(dim), scores by content and by
            the sines of the key's place, without a shift.
        concat: a layer's input and what attention found are joined and pass a Linear.
        chunk_size: frames that attend to each other; None: the whole clip.
        left_chunks: earlier chunks that a frame attends to; None: all.
        restart: while streaming, positions begin one chunk too early once left_chunks are cached, as in Freeze-Omni; only then
            does streamed differ from offline.
        dynamic: when each batch draws its own chunk_size and left_chunks (WeNet, arXiv:2012.05481).
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
    dither_always: bool = field(default=False, metadata=LATER)
    cmvn: str | None = field(default=None, metadata=LATER)
    lead: bool = field(default=False, metadata=LATER)
    embed: bool = field(default=False, metadata=LATER)
    positions: Literal["absolute", "absolute_scaled", "relative"] = field(default="absolute", metadata=LATER)
    concat: bool = field(default=False, metadata=LATER)
    chunk_size: int | None = field(default=None, metadata=LATER)
    left_chunks: int | None = field(default=None, metadata=LATER)
    restart: bool = field(default=False, metadata=LATER)
    dynamic: Literal["never", "training", "always"] = field(default="never", metadata=LATER)

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
        self._check_chunks()

    def _check_chunks(self) -> None:
        if self.chunk_size is not None and self.chunk_size < 1:
            raise ValueError(f"chunk_size is {self.chunk_size}, but must be at least 1, or null for the whole clip")
        if self.left_chunks is not None and self.left_chunks < 0:
            raise ValueError(f"left_chunks is {self.left_chunks}, but must be at least 0, or null for all")
        if self.left_chunks is not None and self.chunk_size is None:
            raise ValueError(f"left_chunks is {self.left_chunks}, but without chunk_size there are no chunks; set it too")
        if self.restart and (self.positions != "relative" or self.left_chunks is None):
            raise ValueError("restart is true, but it shifts relative positions by the cached left_chunks; "
                             "set positions to relative and left_chunks to a number, or restart to false")
        if self.cmvn is not None and self.normalisation != "fixed":
            raise ValueError("cmvn is given, but normalisation is clip, which takes its numbers from the clip; set it to fixed")
        if self.lead and self.frame_length_ms < self.frame_shift_ms:
            raise ValueError(f"lead is true, but frame_length_ms, {self.frame_length_ms}, is below frame_shift_ms, "
                             f"{self.frame_shift_ms}, so mel frames do not overlap; set it to false")

    @property
    def input(self) -> SignalSpec:
        return SignalSpec("audio", Fraction(SAMPLE_RATE))

    @property
    def output(self) -> FeatureSpec:
        return FeatureSpec(self.dim, rate=Fraction(1000, self.frame_shift_ms * SUBSAMPLING), lookahead=self._lookahead)

    @property
    def _lookahead(self) -> float:
        """From the beginning of a frame's time to the last sample that it depends on."""
        if self.chunk_size is None or self.normalisation == "clip" or self.dynamic == "always":
            return math.inf
        last = SUBSAMPLING * self.chunk_size + OVERLAP  # mel frames up to the end of the chunk
        return ((last - 1) * self.shift + self.frame - self.silence - OVERLAP * self.lead * self.shift) / SAMPLE_RATE

    @property
    def frame(self) -> int:
        """Samples of a mel frame."""
        return self.frame_length_ms * SAMPLE_RATE // 1000

    @property
    def shift(self) -> int:
        """Samples between two mel frames."""
        return self.frame_shift_ms * SAMPLE_RATE // 1000

    @property
    def silence(self) -> int:
        """Samples of silence before the clip."""
        return self.frame - self.shift if self.lead else 0

    def length(self, samples: int) -> int:
        """Give the exact number of frames; edges are not padded, so the last few samples may add none.

        Raises:
            DataError: the clip is too short for one frame, or longer than positions reach.
        """
        frames = 1 + (samples + self.silence - self.frame) // self.shift + OVERLAP * self.lead
        count = subsampled(subsampled(frames))
        if count < 1:
            least = self._samples(1) / SAMPLE_RATE
            raise DataError(f"A clip is {samples / SAMPLE_RATE:.3f} s long, but mel_cnn needs at least {least:.3f} s; "
                            "pad it with silence or drop it.")
        if self.positions == "relative" and count >= TABLE:
            reach = TABLE * SUBSAMPLING * self.frame_shift_ms / 1000
            raise DataError(f"A clip is {samples / SAMPLE_RATE:.1f} s long, which is {count} frames, but the relative "
                            f"positions of mel_cnn reach {TABLE - 1}, about {reach:.0f} s; cut it or drop it.")
        return count

    def _samples(self, count: int) -> int:
        """Give how many samples the shortest clip with `count` frames has."""
        frames = SUBSAMPLING * count + OVERLAP - OVERLAP * self.lead
        return (frames - 1) * self.shift + self.frame - self.silence

    def footprint(self) -> Footprint:
        """Give how large it is; what a layer keeps was measured, 9 dim + ffn values for a frame, 2 dim of them float32."""
        dim, ffn, relative = self.dim, self.ffn, self.positions == "relative"
        layer = (4 * linear(dim, dim) + (dim**2 + 2 * dim) * relative + linear(dim, ffn) + linear(ffn, dim) + 4 * dim
                 + linear(2 * dim, dim) * self.concat)
        once, twice = subsampled(self.mel_bins), subsampled(subsampled(self.mel_bins))
        first = (convolution(1, self.channels, 9) + convolution(self.channels, self.channels, 9)
                 + linear(self.channels * twice, dim) + (linear(dim, dim) + 2 * dim) * self.embed)
        return Footprint(
            parameters=first + self.layers * layer + 2 * dim, layers=self.layers, width=dim,
            layer=Saved(2 * dim, 7 * dim + ffn + 2 * dim * self.concat),
            outside=Saved(4 * dim + 4 * self.mel_bins, 2 * self.channels * (once + twice)),
            square=self.heads if relative else 0,
            matrices=(Matrix((4 + relative) * self.layers, dim, dim), Matrix(self.layers, dim, ffn),
                      Matrix(self.layers, ffn, dim)))

    def build(self) -> "MelCnnEncoder":
        from omnikit_mel_cnn.model import MelCnnEncoder

        return MelCnnEncoder(self)


def subsampled(count: int) -> int:
    """Give how many positions a convolution of width 3 and stride 2 without padding finds."""
    return (count - 1) // 2
