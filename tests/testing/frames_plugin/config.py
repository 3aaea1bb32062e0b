"""Components without a fault, and variants of their configurations; imports no torch."""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from omnikit_basics.config import SpatiotemporalPool
from omnikit_codes.config import DelayedCodes

from omnikit.contracts.footprint import Footprint, linear
from omnikit.contracts.specs import CodecSpec, FeatureSpec, SignalSpec

RATE = 16000


@dataclass(frozen=True)
class OtherMedia(SpatiotemporalPool):
    """Joins what belongs to the other media of a batch."""

    def build(self, source: FeatureSpec, dim: int) -> Any:
        from frames_plugin.model import OtherMediaProjector

        return OtherMediaProjector(source.dim, dim)


@dataclass(frozen=True)
class OtherFeedback(DelayedCodes):
    """Feeds the language model other vectors in answers than in training."""

    def build(self, source: FeatureSpec, codec: CodecSpec | None, vocabulary: int) -> Any:
        from frames_plugin.model import OtherFeedbackHead

        assert codec is not None, "a head of codes has one beside it"
        return OtherFeedbackHead(self, source.dim, codec.codebooks, codec.cardinality)


@dataclass(frozen=True)
class Frames:
    """Cuts audio into frames and projects each."""

    dim: int = 16
    frame: int = 320

    @property
    def input(self) -> SignalSpec:
        return SignalSpec("audio", Fraction(RATE))

    @property
    def output(self) -> FeatureSpec:
        return FeatureSpec(self.dim, rate=Fraction(RATE, self.frame), lookahead=self.frame / RATE)

    def length(self, samples: int) -> int:
        return samples // self.frame

    def footprint(self) -> Footprint:
        return Footprint(linear(self.frame, self.dim))

    def build(self) -> Any:
        from frames_plugin.model import FramesEncoder

        return FramesEncoder(self)


@dataclass(frozen=True)
class FaultyFrames(Frames):
    """Frames whose module is a faulty variant."""

    variant: str = ""

    def build(self) -> Any:
        from frames_plugin import model

        return getattr(model, self.variant)(self)


@dataclass(frozen=True)
class WrongDim(Frames):
    """States another hidden size."""

    @property
    def output(self) -> FeatureSpec:
        return FeatureSpec(self.dim + 1, rate=Fraction(RATE, self.frame), lookahead=self.frame / RATE)


@dataclass(frozen=True)
class WrongRate(Frames):
    """States twice the rate."""

    @property
    def output(self) -> FeatureSpec:
        return FeatureSpec(self.dim, rate=Fraction(2 * RATE, self.frame), lookahead=self.frame / RATE)


@dataclass(frozen=True)
class WrongLength(Frames):
    """Counts a last frame that is not whole."""

    def length(self, samples: int) -> int:
        return -(-samples // self.frame)


@dataclass(frozen=True)
class WrongLookahead(FaultyFrames):
    """States that a vector depends on its own frame alone, but it depends on the next one too."""

    variant: str = "LooksAhead"


@dataclass(frozen=True)
class WrongFootprint(Frames):
    """Forgets the bias."""

    def footprint(self) -> Footprint:
        return Footprint(self.frame * self.dim)


class Undocumented(Frames):
    __doc__ = None


class Label:
    """What YAML cannot hold."""


@dataclass(frozen=True)
class NotYaml(Frames):
    """Has a field that YAML cannot hold."""

    label: Label = field(default_factory=Label)


@dataclass(frozen=True)
class Unpicklable(Frames):
    """Has a field that pickle cannot hold."""

    def __reduce__(self) -> Any:
        raise TypeError("cannot pickle a file handle")


@dataclass(frozen=True)
class WrongCount:
    """A projector that states four vectors, but counts the encoder's."""

    def output(self, source: FeatureSpec, dim: int) -> FeatureSpec:
        return FeatureSpec(dim, count=4)

    def length(self, count: int) -> int:
        return count

    def build(self, source: FeatureSpec, dim: int) -> Any:
        from frames_plugin.model import Pointwise

        return Pointwise(source.dim, dim)


@dataclass(frozen=True)
class Coded:
    """A codec of the loudness of each frame."""

    frame: int = 320
    codebooks: int = 1
    cardinality: int = 8

    @property
    def spec(self) -> CodecSpec:
        return CodecSpec(RATE, Fraction(RATE, self.frame), self.codebooks, self.cardinality)

    @property
    def encodes(self) -> bool:
        return True

    @property
    def decodes(self) -> bool:
        return True

    @property
    def objectives(self) -> tuple[str, ...]:
        return ()

    def build(self) -> Any:
        from frames_plugin.model import LoudnessCodec

        return LoudnessCodec(self)


@dataclass(frozen=True)
class WrongCodes(Coded):
    """States half of the codes that it gives."""

    @property
    def spec(self) -> CodecSpec:
        return CodecSpec(RATE, Fraction(RATE, self.frame), self.codebooks, self.cardinality // 2)
