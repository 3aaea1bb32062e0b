"""The settings and contract of the Whisper encoder. Imports no torch."""

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

from omnikit.contracts.footprint import Footprint, Matrix, Saved, convolution, linear
from omnikit.contracts.specs import LATER, FeatureSpec, SignalSpec
from omnikit.errors import DataError
from omnikit_whisper.folder import folder_fields

if TYPE_CHECKING:
    from collections.abc import Mapping

    from omnikit.contracts.folders import FolderValue
    from omnikit_whisper.model import WhisperEncoder

SAMPLE_RATE = 16000  # Hz, openai-whisper audio.py


@dataclass(frozen=True)
class Whisper:
    """Whisper's audio encoder: log-mel, two convolutions, transformer; waveforms in, 50 frames a second with Whisper's strides.

    Source: arXiv:2212.04356; weights and names as in transformers' WhisperModel.

    Args:
        dim: width of the frames.
        ffn: width inside the feed-forward layers.
        positions: longest clip in frames (1500 = 30 s).
        hop: samples between two mel frames; Whisper's is 160 (openai-whisper audio.py).
        kernel: mel frames that a convolution spans; odd; Whisper's is 3.
        strides: of the two convolutions; Whisper's are 1 and 2, which give 50 frames a second. Fewer frames train faster.
        seconds: every clip is padded with silence or cut to this length and all its frames count, as Whisper was
            trained (30.0); None: clips keep their true length.
        dropout: fraction of activations dropped while training.
        time_masks: how many stretches of time are blanked while training (SpecAugment, arXiv:1904.08779).
        time_mask_width: longest such stretch in mel frames.
        frequency_masks: how many bands of mel bins are blanked while training.
        frequency_mask_width: widest such band in mel bins.
        gain_db: while training a clip becomes louder or softer by up to this many decibels.
        weights: a folder with a Whisper model of transformers (model.safetensors or pytorch_model.bin), or a model id in the
            local cache, whose config.json states the sizes, over a preset's values; None: random weights.
        weights_prefix: what a wrapper around the model put before the names of these weights; tensors without it are left out.
    """

    dim: int = 128
    layers: int = 3
    heads: int = 4
    ffn: int = 512
    mel_bins: int = 80
    positions: int = 1500
    hop: int = 160
    kernel: int = 3
    strides: tuple[int, int] = (1, 2)
    seconds: float | None = None
    dropout: float = 0.0
    time_masks: int = 0
    time_mask_width: int = 20
    frequency_masks: int = 0
    frequency_mask_width: int = 16
    gain_db: float = 0.0
    weights: str | None = None
    weights_prefix: str = field(default="", metadata=LATER)

    def __post_init__(self) -> None:
        for name in ("dim", "layers", "heads", "ffn", "mel_bins", "positions"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, but must be at least 1")
        for name in ("time_masks", "time_mask_width", "frequency_masks", "frequency_mask_width", "gain_db"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}, but must be at least 0")
        if min(self.hop, *self.strides) < 1:
            raise ValueError(f"hop is {self.hop} and strides is {list(self.strides)}, but each must be at least 1")
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError(f"kernel is {self.kernel}, but must be odd and at least 1")
        if self.dim % self.heads:
            raise ValueError(f"heads is {self.heads}, but must divide dim, which is {self.dim}")
        if self.dim % 2 or self.dim < 4:
            raise ValueError(f"dim is {self.dim}, but must be even and at least 4 for sine and cosine positions")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout is {self.dropout}, but must be at least 0 and below 1")
        if self.seconds is not None and not 0 < self.seconds <= self.positions * self.step / SAMPLE_RATE:
            raise ValueError(f"seconds is {self.seconds:g}, but must be above 0 and at most "
                             f"{self.positions * self.step / SAMPLE_RATE:g}, which {self.positions} positions hold")

    @property
    def step(self) -> int:
        """Samples of one output frame."""
        return self.hop * self.strides[0] * self.strides[1]

    @property
    def input(self) -> SignalSpec:
        return SignalSpec("audio", Fraction(SAMPLE_RATE))

    @property
    def output(self) -> FeatureSpec:
        if self.window is not None:
            return FeatureSpec(self.dim, count=self.window, lookahead=math.inf)
        return FeatureSpec(self.dim, rate=Fraction(SAMPLE_RATE, self.step), lookahead=math.inf)

    @property
    def window(self) -> int | None:
        """Vectors of every clip where `seconds` fixes its length, else None."""
        return None if self.seconds is None else math.ceil(self.seconds * SAMPLE_RATE / self.step)

    def length(self, samples: int) -> int:
        """Give the exact number of frames: one for each started step of 20 ms, or all of the window.

        Raises:
            DataError: the clip is empty, or longer than the positions (unless it may be cut).
        """
        if samples < 1:
            raise DataError("A clip has no samples, but whisper needs at least one.")
        count = -(-samples // self.step)
        if self.window is not None:
            return self.window
        if count > self.positions:
            raise DataError(f"A clip is {samples / SAMPLE_RATE:.2f} s long, but whisper's {self.positions} positions "
                            f"hold {self.positions * self.step / SAMPLE_RATE:g} s; cut the clip or set `positions` higher.")
        return count

    def footprint(self) -> Footprint:
        """Give how large it is; what a layer keeps was measured: 8 dim + 2 ffn values for a frame, 4 dim of them float32."""
        dim, ffn = self.dim, self.ffn
        layer = 4 * dim**2 + 3 * dim + linear(dim, ffn) + linear(ffn, dim) + 4 * dim
        first = convolution(self.mel_bins, dim, self.kernel) + convolution(dim, dim, self.kernel)
        mel = self.mel_bins * self.strides[0] * self.strides[1]
        return Footprint(
            parameters=first + self.layers * layer + 2 * dim, layers=self.layers, width=dim,
            layer=Saved(4 * dim, 4 * dim + 2 * ffn),
            outside=Saved(2 * dim + mel, 2 * self.strides[1] * dim),
            matrices=(Matrix(4 * self.layers, dim, dim), Matrix(self.layers, dim, ffn), Matrix(self.layers, ffn, dim)))

    @staticmethod
    def folder_fields(fields: "Mapping[str, object]") -> "dict[str, FolderValue]":
        """Give what the folder in `weights` states for the other fields; raises ConfigError where it cannot be read."""
        return folder_fields(fields)

    def build(self) -> "WhisperEncoder":
        from omnikit_whisper.model import WhisperEncoder

        return WhisperEncoder(self)
