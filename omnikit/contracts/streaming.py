"""Roles of components that stream: `state` holds all that changes between chunks, and any chunking gives the same.

As in omnikit.contracts.protocols, no component needs these as a base class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from omnikit.contracts.codes import Code
from omnikit.contracts.protocols import Codec, CodeHead, Encoder, Projector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from omnikit.contracts.types import Features, Signal


@runtime_checkable
class StreamingEncoder(Encoder, Protocol):
    """An encoder of audio in chunks, of the same length in each row; its features, joined, are those of the whole clip."""

    def init_state(self, batch: int) -> object: ...
    def step(self, signal: Signal, state: object, *, last: bool = False) -> tuple[Features, object]:
        """New samples [B, N] after what `state` holds; gives the vectors they complete, with `last` all that are left."""


@runtime_checkable
class StreamingProjector(Projector, Protocol):
    """A projector of features as they come, equally many in each row; its vectors, joined, are those of all features."""

    def init_state(self, batch: int) -> object: ...
    def step(self, features: Features, state: object, *, last: bool = False) -> tuple[Features, object]: ...


@runtime_checkable
class StreamingHead(CodeHead, Protocol):
    """A head that gives its ids while the answer is being written; any chunking gives the ids that `decode` gives."""

    def init_state(self, batch: int) -> object:
        """Give the state of `batch` answers of which nothing was seen."""

    def step(self, features: Features, state: object) -> tuple[list[list[Code]], object]:
        """New features [B, N, D] after what `state` has taken; gives each row's new codes. May change `state`."""


@runtime_checkable
class AlignedHead(StreamingHead, Protocol):
    """A streaming head that can name the hidden state which each code came from."""

    def sources(self, state: object) -> list[list[int]]:
        """Give for each row, and each code that the last `step` gave, the position among that step's features it came from."""


@runtime_checkable
class TimedCodec(Codec, Protocol):
    """A codec of merged codes that gives how long each is spoken."""

    def durations(self, units: Tensor) -> Tensor:
        """Codes [T] of the one codebook to the frames [T] of each, which depend on up to 8 codes to each side."""


class CodeIterator(Protocol):
    """The codes of one sentence, each made when it is asked for; afterwards `cut` is True if a limit ended them."""

    cut: bool

    def __iter__(self) -> Iterator[Code]: ...


@runtime_checkable
class SpeakingHead(CodeHead, Protocol):
    """A head that reads a sentence whole and then gives its codes one by one; the same as `decode` gives for it."""

    def speak(self, features: Features, context: Features | None = None) -> CodeIterator:
        """Begin a sentence [1, N, D]; `context` [1, M, D] are hidden states, for heads whose configuration needs them."""


@runtime_checkable
class StreamingCodec(Codec, Protocol):
    """A codec whose wave goes on from segment to segment; the pieces, joined, are the wave that `decode` gives."""

    def init_state(self, batch: int) -> object:
        """Give the state of one wave of which nothing was spoken; `batch` is 1."""

    def step(self, codes: Tensor, state: object, *, last: bool = False) -> tuple[Tensor, object]:
        """New codes [N, Q] after what `state` holds; gives the wave [M] that no later code can change. May change `state`.

        `last` is True if no code follows: all that is left is spoken, and the state is as new.
        """
