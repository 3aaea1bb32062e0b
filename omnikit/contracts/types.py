"""What flows between components at run time: tensors with their lengths, and samples of data.

Imports no torch at run time, so that light modules may name these types.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from itertools import accumulate
from typing import TYPE_CHECKING

from omnikit.contracts.codes import Code
from omnikit.contracts.media import Medium

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


@dataclass
class Signal:
    """A padded batch of raw input.

    Args:
        data: [B, N] mono waveforms in [-1, 1], or [B, ...] items without time. Tiles [B, 3, S, S] of images are bytes in a
            batch; an encoder takes them normalised by its ImageSpec, float32.
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
        ids: [B, U] int64, or codes [B, U, Q] of Q codebooks; padding is -100.
        lengths: [B] valid ids of each row, int64.
    """

    ids: Tensor
    lengths: Tensor


@dataclass(frozen=True)
class SkippedRow:
    """A row that training leaves out.

    Args:
        index: of the row in its dataset, from 0.
        row: its id; "" where none could be read.
        kind: what is wrong, in two or three words; "filtered" where nothing is.
    """

    dataset: str
    index: int
    row: str
    kind: str
    reason: str


@dataclass
class Batch:
    """One padded batch, ready for OmniModel. Lists are known on the host, so that no step waits for the accelerator.

    A row holds one conversation, or several where rows are packed: then C conversations stand in B rows, and `documents`,
    `conversation_rows` and `target_positions` are there.

    Args:
        tokens: [B, L] int64; at slots and padding the id is 0. B is 0 where no head needs the backbone.
        lengths: [B] valid positions, slots included.
        answers: [C, U] int64, positions in their row of a conversation's supervised tokens in order (each answer's end
            included); padding is 0. C is B unless rows are packed.
        answer_lengths: [C] supervised tokens of each conversation.
        signals: for each input branch its signals in order of appearance, B' of them.
        slots: for each input branch [S] int64, place (row * L + position) of each projected vector, in order.
        counts: for each input branch how many vectors each of its signals takes, or each of its media where they are joined;
            they sum to S.
        rows: for each input branch the conversation that each of its signals stands in.
        targets: for each output branch what its head shall give: one row for each conversation, or for each signal of the
            branch that the head taps; absent if no row has any. In a packed batch, targets of a loss by token are one row.
        ids: the conversations' names, for errors.
        documents: [B, L] int64, the number from 1 of the conversation within its row that each position belongs to; 0 is
            padding. It stays on the host.
        conversation_rows: [C] int64, the row that each conversation stands in.
        target_positions: [S] int64, positions (row * L + position) of all supervised tokens, one conversation after another.
        texts: for each output branch that taps the embedding table the ids of its spoken answers' words; row for row they
            belong to its targets, of which a conversation has as many as it has spoken answers.
        sizes: for each input branch the length of each of its signals, by which features are held against their contracts;
            without it they are not.
        target_counts: for each output branch with targets what its loss is a mean over (omnikit.data.batch.windows).
        window_counts: the same of all batches of its accumulation window; None: it is not in one.
        repeated: whether another rank trains on it, so that it counts nothing here.
        skipped: rows in whose place others stand.
        starts: for each input branch whose signals take no positions (their counts are 0) how many positions of its row stand
            before each signal, or each medium where they are joined.
        instructions: for each input branch whose projector reads text the ids of the message of each of its signals, or of each
            of its media where they are joined, [B', U]; padding is 0.
        media: for each input branch whose projector joins the signals of a medium its media in order of appearance.
        content: for each point whose features are stored a key of each conversation, see omnikit.data.batch.single_rows.
    """

    tokens: Tensor
    lengths: Tensor
    answers: Tensor
    answer_lengths: Tensor
    signals: dict[str, Signal]
    slots: dict[str, Tensor]
    counts: dict[str, list[int]]
    rows: dict[str, list[int]]
    targets: dict[str, Targets]
    ids: list[str]
    documents: Tensor | None = None
    conversation_rows: Tensor | None = None
    target_positions: Tensor | None = None
    texts: dict[str, Targets] = field(default_factory=dict)
    sizes: dict[str, list[int]] = field(default_factory=dict)
    target_counts: dict[str, float] = field(default_factory=dict)
    window_counts: dict[str, float] | None = None
    content: dict[str, list[str]] = field(default_factory=dict)
    repeated: bool = False
    skipped: tuple[SkippedRow, ...] = ()
    starts: dict[str, list[int]] = field(default_factory=dict)
    instructions: dict[str, Targets] = field(default_factory=dict)
    media: dict[str, list[Medium]] = field(default_factory=dict)

    def signal_ranges(self, branch: str) -> list[range]:
        """Give the numbers of the signals behind each sequence of projected vectors of a branch."""
        counts = [medium.signals for medium in self.media.get(branch, ())] or [1] * len(self.rows[branch])
        return [range(end - count, end) for count, end in zip(counts, accumulate(counts), strict=True)]

    def projected_rows(self, branch: str) -> list[int]:
        """Give the conversation that each sequence of projected vectors of a branch stands in."""
        return [self.rows[branch][signals.start] for signals in self.signal_ranges(branch)]

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """Give the batch with every tensor changed."""
        conversation_rows, target_positions = (None if tensor is None else change(tensor)
                                               for tensor in (self.conversation_rows, self.target_positions))
        return Batch(change(self.tokens), change(self.lengths), change(self.answers), change(self.answer_lengths),
                     {k: Signal(change(v.data), change(v.lengths)) for k, v in self.signals.items()},
                     {k: change(v) for k, v in self.slots.items()}, self.counts, self.rows,
                     {k: Targets(change(v.ids), change(v.lengths)) for k, v in self.targets.items()}, self.ids,
                     self.documents, conversation_rows, target_positions,
                     {k: Targets(change(v.ids), change(v.lengths)) for k, v in self.texts.items()}, self.sizes,
                     self.target_counts, self.window_counts, self.content, self.repeated, self.skipped, self.starts,
                     {k: Targets(change(v.ids), change(v.lengths)) for k, v in self.instructions.items()},
                     self.media)

    def pin_memory(self) -> Batch:
        """Give the batch in memory that a GPU copies from without waiting; a DataLoader asks for it by this name."""
        return self.mapped(lambda tensor: tensor.pin_memory())


@dataclass(frozen=True)
class Reconstruction:
    """What a codec makes of waves while it learns.

    Args:
        waves: [B, N], as long as what was given.
        codes: [B, T, Q] int64, one per frame and codebook; None where nothing was quantised.
        losses: scalars, each a mean, unweighted: "codebook" (the codes move to the vectors; absent where codes are moving
            averages) and "commitment" (the vectors move to the codes), over all quantisers; empty where nothing was quantised.
    """

    waves: Tensor
    codes: Tensor | None
    losses: dict[str, Tensor]


@dataclass(frozen=True)
class ContentPart:
    """One piece of a message.

    Args:
        type: "text", "audio", "image" or "video"; "prompt" is a place for learned vectors.
        text: the text of a text part; for audio, what is said in it, and for an image, what it shows (empty: nothing; None:
            unknown).
        path: the media file, if the data lies in one.
        audio: [N] mono waveform in [-1, 1] at `sample_rate`, if the data is at hand.
        pixels: [H, W, 3] uint8 of an image or [F, H, W, 3] of a video at `frame_rate`, if the data is at hand.
        frame_rate: of `pixels`, frames per second.
        data: the bytes of the media file, if it is embedded in the dataset.
        codes: of an audio part, frame by frame, where the data brings them.
    """

    type: str
    text: str | None = None
    path: str | None = None
    audio: NDArray[np.float32] | None = None
    sample_rate: int = 16000
    codes: tuple[Code, ...] | None = None
    pixels: NDArray[np.uint8] | None = None
    frame_rate: float = 25.0
    data: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Message:
    """One turn of a conversation.

    Args:
        role: "system", "user" or "assistant".
        state: of an answer, what the model takes the question for, where the row gives it: "noise" is not meant for it. None:
            "audio" if the question before holds some, else "text".
        cut: of an answer, True where it breaks off: the token that ends an answer is left out.
    """

    role: str
    content: tuple[ContentPart, ...]
    state: str | None = None
    cut: bool = False


@dataclass(frozen=True)
class Sample:
    """One conversation of a dataset; `facts` are free words about it (kind of question, voice), used by evaluation."""

    id: str
    messages: tuple[Message, ...]
    facts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LazyTensor:
    """A tensor that lies in a file and is read when asked for: a checkpoint larger than the memory passes piece by piece.

    Args:
        name: what its file calls it.
        file: where it lies.
        dtype: torch's name of its dtype, float16.
        read: gives it, on the CPU.
    """

    name: str
    file: Path
    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], Tensor]


@dataclass(frozen=True)
class CheckpointTensors:
    """What the files of a published checkpoint hold, by our parts and names.

    Args:
        tensors: part → our name → tensor; under "other" what belongs to no part.
        ignored: part → tensors that are left out on purpose, as the layout's own loader does.
        original: gives the name in the files for a part and our name.
        sources: part → the file or flag that its tensors come from, for sentences.
    """

    tensors: dict[str, dict[str, LazyTensor]]
    ignored: dict[str, list[LazyTensor]]
    original: Callable[[str, str], str]
    sources: dict[str, str]


@dataclass(frozen=True)
class BuildReport:
    """What a builder made.

    Args:
        rows: rows of the dataset.
        rejected: reason → entries of the source that were left out for it.
        made: rows (or waves) that this call made; the others were found finished.
        question_seconds: sound of all questions.
        answer_seconds: sound of all answers.
        provides: what every row holds, in a reader's words.
    """

    rows: int
    rejected: dict[str, int]
    made: int
    question_seconds: float
    answer_seconds: float
    provides: tuple[str, ...]
