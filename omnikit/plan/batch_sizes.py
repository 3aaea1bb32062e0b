"""How many positions, frames and targets a batch of a stage has at most, from contracts alone. Reads no data, imports no torch.

What no contract states is assumed: the lengths of text that a reader does not give, of audio that has no limit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from omnikit.contracts.configs import BackboneConfig, ReaderConfig
from omnikit.contracts.media import Medium, image_medium
from omnikit.contracts.optional import row_options
from omnikit.errors import DataError
from omnikit.plan.branches import InputBranch, OutputBranch
from omnikit.plan.stage_plan import StagePlan

TEXT_TOKENS = 512  # of a row's text, where its reader does not state it
SECONDS = 30.0  # of a question's audio, likewise
SPOKEN = 0.3  # seconds that a token of an answer is spoken, about


@dataclass(frozen=True)
class BatchSizes:
    """The sizes of one batch.

    Args:
        rows: conversations.
        sequences: of the backbone.
        length: positions of a sequence.
        signals: input branch → signals.
        frames: input branch → frames that its encoder gives of one signal.
        positions: input branch → positions that one signal becomes.
        answer_tokens: of one row.
        packed: whether a sequence has no mask of its own.
    """

    rows: int
    sequences: int
    length: int
    signals: dict[str, float] = field(default_factory=dict)
    frames: dict[str, int] = field(default_factory=dict)
    positions: dict[str, int] = field(default_factory=dict)
    answer_tokens: int = 0
    packed: bool = False

    @property
    def tokens(self) -> int:
        """Positions of the backbone."""
        return self.sequences * self.length

    def encoded(self, branch: str) -> float:
        """Frames that a branch's encoder gives."""
        return self.signals.get(branch, 0) * self.frames.get(branch, 0)

    def projected(self, branch: str) -> float:
        """Positions that a branch fills."""
        return self.signals.get(branch, 0) * self.positions.get(branch, 0)


@dataclass(frozen=True)
class Row:
    """The longest row of a dataset: its text, and the signals of each input branch."""

    text: int
    answer: int
    signals: dict[str, float]
    length: int
    weight: float


def batch_sizes(stage: StagePlan, inputs: Mapping[str, InputBranch], readers: Mapping[str, ReaderConfig],
                text_tokens: int | None = None, outputs: Mapping[str, OutputBranch] | None = None) -> BatchSizes:
    """Give the sizes of a stage's largest batch.

    Args:
        text_tokens: of a row, instead of what is assumed where a reader does not state it.
        outputs: output branches; where the backbone reads the codes of one, rows last until these end.
    """
    used = {name: branch for name, branch in inputs.items() if f"{name}.encoder" in stage.used}
    lengths = {name: _lengths(branch, readers, stage) for name, branch in used.items()}
    lengths |= {name: (lengths[name][0], _of_joined(branch, [readers[each] for each in stage.datasets]))
                for name, branch in used.items() if branch.joins_media and branch.is_spliced}
    frames, positions = ({name: pair[index] for name, pair in lengths.items()} for index in (0, 1))
    total = sum(stage.stage.data[name] for name in stage.datasets)
    rows = [_row(readers[name], used, positions, stage.stage.data[name] / total, text_tokens or TEXT_TOKENS)
            for name in stage.datasets]
    feeding = [output for name, output in (outputs or {}).items() if output.feeds and name in stage.stage.loss]
    rows = [replace(row, length=row.length + _behind_text(row, feeding)) for row in rows]
    trainer, answer = stage.stage.trainer, max((row.answer for row in rows), default=0)
    longest = max((row.length for row in rows), default=0)
    if trainer.pack or trainer.batch_tokens:
        fitting = trainer.batch_tokens or trainer.batch_size * (trainer.pack or longest)
        signals = {name: max(row.signals.get(name, 0) * fitting / max(1, row.length) for row in rows) for name in used}
        count = max(1, round(fitting / max(1, longest)))
        if trainer.pack:
            return BatchSizes(count, fitting // trainer.pack, trainer.pack, signals, frames, positions, answer, True)
        length = longest if "backbone" in stage.used else 0
        return BatchSizes(count, count, length, signals, frames, positions, answer)
    signals = {name: trainer.batch_size * _most(rows, name, trainer.window) for name in used}
    length = longest if "backbone" in stage.used and not stage.table else 0
    return BatchSizes(trainer.batch_size, trainer.batch_size, length, signals, frames, positions, answer)


def _most(rows: Sequence[Row], branch: str, window: int) -> float:
    """Give the signals of a branch in a row of a batch: sorted by length, rows of a dataset that fill a batch make up one."""
    alone = [row.signals.get(branch, 0) for row in rows if row.weight * window > 1]
    return max([sum(row.weight * row.signals.get(branch, 0) for row in rows), *alone])


def answer_frames(output: OutputBranch, sizes: BatchSizes, backbone: BackboneConfig | None) -> float:
    """Give the units of an output branch's head: frames that it taps, signals whose state it predicts, or answers' tokens."""
    tapped, _, slot = output.head.tap.partition(".")
    if output.head.target == "state":
        return sizes.signals.get(output.state_input, 0)
    if slot:
        return sizes.encoded(tapped) if slot == "encoder" else sizes.projected(tapped)
    return float(sizes.rows * sizes.answer_tokens)


def _lengths(branch: InputBranch, readers: Mapping[str, ReaderConfig], stage: StagePlan) -> tuple[int, int]:
    """Give the frames of a branch's longest signal, and the positions that they become."""
    rate = branch.encoder.input.rate
    known = [readers[name].seconds for name in stage.datasets]
    seconds = max((value for value in known if value is not None), default=SECONDS)
    samples = int(seconds * rate) if rate else 1
    try:
        return branch.encoder.length(samples), branch.positions(samples)
    except DataError:  # longer than the encoder takes
        samples = int(SECONDS * rate) if rate else 1
        return branch.encoder.length(samples), branch.positions(samples)


def _behind_text(row: Row, feeding: Sequence[OutputBranch]) -> int:
    """Give the positions behind the text of an answer, at which its codes are still emitted."""
    frames = [(output, round(row.answer * SPOKEN * float(output.codes.rate))) for output in feeding if output.codes]
    return max((max(0, output.steps(count) - row.answer) for output, count in frames), default=0)


def _of_joined(branch: InputBranch, readers: Sequence[ReaderConfig]) -> int:
    """Give the positions that a signal becomes, where all of a medium are joined: a share of those of the largest medium."""
    count = max((round(_count(branch, reader, row_options(reader).tiles)) for reader in readers), default=1) or 1
    spec, video = branch.image_spec, any("video" in reader.provides for reader in readers)
    if spec is None or video:
        return -(-branch.medium_length(Medium("video" if video else branch.media[0], count)) // count)
    image = image_medium(spec.largest_grid, spec.largest_grid, spec)
    return -(-branch.medium_length(image) // image.signals)


def _row(reader: ReaderConfig, used: Mapping[str, InputBranch], positions: Mapping[str, int], weight: float,
         assumed: int) -> Row:
    options = row_options(reader)
    text = assumed if options.text_tokens is None else options.text_tokens
    answer = text // 2 if options.answer_tokens is None else options.answer_tokens
    signals = {name: _count(branch, reader, options.tiles) for name, branch in used.items()}
    return Row(text, answer, signals, text + round(sum(signals[name] * positions[name] for name in used)), weight)


def _count(branch: InputBranch, reader: ReaderConfig, tiles: float | None) -> float:
    """Give the signals of a branch in a row: one of audio, tiles of an image or frames of a video."""
    if not set(branch.media) & set(reader.provides):
        return 0
    spec = branch.image_spec
    if spec is None:
        return 1
    if tiles is not None:
        return tiles
    image = spec.tiles(spec.largest_grid)
    return max(image, spec.most_frames if "video" in reader.provides else 0)
