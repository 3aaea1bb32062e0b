"""What flows between components, described before any tensor exists.

Knows nothing of torch, Hydra or files: only numbers and names.
"""

from dataclasses import dataclass
from fractions import Fraction

KINDS = ("encoder", "projector", "backbone", "head", "codec", "tts", "vad", "reader")


@dataclass(frozen=True)
class SignalSpec:
    """Raw input of an encoder.

    Args:
        modality: "audio", "image" or "video".
        rate: samples per second; None for a signal without time.
        shape: shape of one item without its time axis; () for mono audio, (3, 448, 448) for an image.
    """

    modality: str
    rate: Fraction | None = None
    shape: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"{self.modality}, {float(self.rate):g} Hz" if self.rate else f"{self.modality}, {self.shape}"


@dataclass(frozen=True)
class FeatureSpec:
    """Vectors: exactly one of `rate` (Hz) and `count` (vectors per item) is given.

    Args:
        dim: width of a vector.
        rate: vectors per second.
        count: vectors per item, whatever its length (an image tile, the queries of a Q-Former).
        lookahead: seconds of future that a vector depends on; infinite when the whole clip is needed.
    """

    dim: int
    rate: Fraction | None = None
    count: int | None = None
    lookahead: float = 0.0

    def __post_init__(self) -> None:
        if (self.rate is None) == (self.count is None):
            raise ValueError(f"a feature has either a rate or a count, but got rate={self.rate} and count={self.count}")

    def __str__(self) -> str:
        pace = f"{float(self.rate):g} Hz" if self.rate is not None else f"{self.count} vectors"
        return f"{self.dim} wide, {pace}"


@dataclass(frozen=True)
class CodecSpec:
    """A codec's handshake.

    Args:
        sample_rate: samples per second of the wave.
        rate: codes per second and codebook, before runs are merged.
        codebooks: parallel codes per frame.
        cardinality: how many different codes a codebook has.
        merged: True if runs of one code are merged and a duration model puts them back (unit vocoders).
    """

    sample_rate: int
    rate: Fraction
    codebooks: int
    cardinality: int
    merged: bool = False

    def __str__(self) -> str:
        books = f"{self.codebooks} x {self.cardinality} codes"
        return f"{self.sample_rate} Hz, {float(self.rate):g} frames/s, {books}{', runs merged' if self.merged else ''}"


@dataclass(frozen=True)
class Template:
    """How a conversation becomes text for one family of language models.

    Each pattern holds `{content}` once. `assistant` + answer + `end` is one answer; the answer and `end` are supervised.

    Args:
        specials: tokens that the tokenizer must know as single ids.
        default_system: system prompt used when a conversation brings none; empty for none.
    """

    bos: str
    system: str
    user: str
    assistant: str
    end: str
    specials: tuple[str, ...]
    default_system: str = ""
