"""What flows between components at run time: tensors with their lengths, and samples of data.

Imports no torch at run time, so that light modules may name these types.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


@dataclass
class Signal:
    """A padded batch of raw input.

    Args:
        data: [B, N] mono waveforms in [-1, 1], or [B, ...] items without time.
        lengths: [B] valid samples (items) of each row, int64.
    """

    data: Tensor
    lengths: Tensor


@dataclass
class Features:
    """A padded batch of vectors.

    Args:
        data: [B, T, D].
        lengths: [B] valid vectors of each row, int64; what lies beyond is undefined.
        rate: vectors per second; None where a row has a fixed count.
    """

    data: Tensor
    lengths: Tensor
    rate: Fraction | None = None


@dataclass
class Targets:
    """What a head shall give.

    Args:
        ids: [B, U] int64 (or [B, U, Q] for Q codebooks); padding is -100.
        lengths: [B] valid ids of each row, int64.
    """

    ids: Tensor
    lengths: Tensor


@dataclass
class Batch:
    """One padded batch, ready for OmniModel.

    Args:
        tokens: [B, L] int64; at slots and padding the id is 0.
        lengths: [B] valid positions, slots included.
        supervised: [B, L] bool, True at the answer's tokens (its end token included).
        signals: for each input branch the signals in order of appearance; B' rows, see `rows`.
        slots: for each input branch [B, L] bool, True where a projected vector goes.
        targets: for each output branch what its head shall give.
        ids: the rows' names, for errors.
    """

    tokens: Tensor
    lengths: Tensor
    supervised: Tensor
    signals: dict[str, Signal]
    slots: dict[str, Tensor]
    targets: dict[str, Targets]
    ids: list[str]


@dataclass(frozen=True)
class Part:
    """One piece of a message.

    Args:
        type: "text", "audio", "image" or "video".
        text: the text of a text part; for audio, what is said in it (None if unknown).
        path: the media file, if the data lies in one.
        audio: [N] mono waveform in [-1, 1] at `sample_rate`, if the data is at hand.
        codes: codec ids of an audio part, where the data brings them.
    """

    type: str
    text: str | None = None
    path: str | None = None
    audio: NDArray[np.float32] | None = None
    sample_rate: int = 16000
    codes: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Message:
    """One turn of a conversation; role is "system", "user" or "assistant"."""

    role: str
    content: tuple[Part, ...]


@dataclass(frozen=True)
class Sample:
    """One conversation of a dataset; `facts` are free words about it (kind of question, voice), used by evaluation."""

    id: str
    messages: tuple[Message, ...]
    facts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What the model gives back: its text and, with a speech branch, its waveform [N] in [-1, 1] at `sample_rate`."""

    text: str
    waveform: NDArray[np.float32] | None = None
    sample_rate: int = 16000
    codes: tuple[int, ...] = ()
