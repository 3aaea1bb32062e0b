"""Roles of components that stream: `state` holds all that changes between chunks, and any chunking gives the same.

As in omnikit.contracts.protocols, no component needs these as a base class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from omnikit.contracts.codes import Code
from omnikit.contracts.protocols import Backbone, Codec, CodeHead, Encoder, Projector

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from omnikit.contracts.types import Features, Signal, Targets


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
class FeedingHead(StreamingHead, Protocol):
    """A head whose codes the backbone reads: each step's are added to its next input. Its configuration has `steps`.

    Step j of an answer is what the hidden state j positions behind the prompt's last one gives, so that step 0 comes with the
    answer's first token. The codes of step j are added to the input of the position behind it.
    """

    def inputs(self, targets: Targets) -> Tensor:
        """Codes [C, U, Q] to what is added to the backbone's inputs behind each step, [C, S, D] for `steps(U)` steps.

        It is 0 behind a row's last step.
        """

    def feedback(self, state: object) -> Tensor:
        """What is added to the backbone's next input of each row, [B, D]; 0 where a row has finished."""

    def finished(self, state: object) -> list[bool]:
        """Whether each row has given its last code."""


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


class SavedPositions(Protocol):
    """Copies of the first positions of a row."""

    @property
    def length(self) -> int: ...
    @property
    def bytes(self) -> int: ...
    def cut(self, length: int) -> SavedPositions: ...


class BackboneRows(Protocol):
    """What a backbone holds of rows that come and go, numbered from 0 without a gap (omnikit.ops.row_cache helps).

    - lengths: positions of each row.
    - bytes: memory that it takes.
    """

    lengths: list[int]

    @property
    def bytes(self) -> int: ...
    def add(self) -> int:
        """Give the number of a new empty row, which is the last one."""

    def remove(self, row: int) -> None:
        """Free a row; the last one gets its number."""

    def save(self, row: int) -> SavedPositions: ...
    def load(self, row: int, saved: SavedPositions, length: int) -> None:
        """Fill an empty row with the first positions of what `save` gave."""


    def step(self, inputs: Tensor, rows: Sequence[int]) -> Tensor:
        """New inputs [B, N, D] of some rows, behind what each holds; gives hidden [B, N, D]."""


@runtime_checkable
class RowBackbone(Backbone, Protocol):
    """A backbone that steps rows of different lengths, which may come and go between steps."""

    def init_rows(self, fixed: tuple[int, int] | None = None) -> BackboneRows | None:
        """Give rows without any in it; None where this one cannot have them after all.

        With `fixed`, there are never more rows and positions than these: memory may be allocated once, and steps be recorded.
        """


class HeadRows(Protocol):
    """What a head holds of answers that come and go, numbered from 0 without a gap."""

    def add(self) -> int:
        """Give the number of a new answer of which nothing was seen, which is the last one."""

    def remove(self, row: int) -> None:
        """Free an answer's row; the last one gets its number."""

    def step(self, features: Features, rows: Sequence[int]) -> list[tuple[list[Code], list[int] | None]]:
        """New features [B, N, D] of some rows, each of its own length; gives each one's new codes.

        And for each code the position among these features that it came from; None where the head cannot name it.
        """


@runtime_checkable
class RowHead(StreamingHead, Protocol):
    """A streaming head that steps answers together, which may come and go between steps."""

    def init_rows(self) -> HeadRows: ...


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
