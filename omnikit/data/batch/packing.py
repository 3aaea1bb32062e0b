"""Rows of several conversations: which stand together, and how their batch is laid out. Knows no medium and no model."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from math import ceil

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from omnikit.contracts.types import Batch, Sample, Targets
from omnikit.data.batch.collate import Collator
from omnikit.data.batch.samplers import MixtureDataset, MixtureSampler, Pick, shuffled
from omnikit.data.batch.signals import questions

Pack = tuple[Pick, ...]
WINDOW = 50  # batches that are filled together
MEASURED = 20000  # samples before the first step, where the length of a pass is wanted
MARGIN = 0.02  # for what the mean of so many may be wrong by


class PackingSampler(Sampler[list[Pack]]):
    """Batches of packed rows, one pass after another, each sample of a pass once; the order is the seed's.

    Rows are filled in a window, the longest sample first, each into the first row that has room. A sample with a video, or of
    more than `pack` positions, is a row of its own. A batch has at most `batch_size` rows, and fewer where rows longer than
    `pack` would make it larger than so many full ones.

    Args:
        mixture: the datasets.
        shares: which samples a pass draws.
        lengths: gives the positions of a sample.
        batch_size: rows in a batch.
        pack: positions of a row.
        passes: how many passes there will be, where it is known; then, and only then, a pass has a length.
    """

    def __init__(self, mixture: MixtureDataset, shares: MixtureSampler, lengths: Callable[[Sample], int], *, batch_size: int,
                 pack: int,
                 passes: int | None = None) -> None:
        self.mixture, self.shares, self.lengths = mixture, shares, lengths
        self.batch_size, self.pack, self.passes = batch_size, pack, passes
        self._pass = 0
        self._batches: int | None = None
        self._known: dict[Pick, tuple[int, bool]] = {}  # positions, and whether it may share a row

    def __len__(self) -> int:
        """Give the batches of the longest pass, see `measure`; TypeError where no end is set."""
        if self.passes is None:
            raise TypeError("passes without end have no length")
        if self._batches is None:
            self.measure(lambda share: None)
        assert self._batches is not None
        return self._batches

    def __iter__(self) -> Iterator[list[Pack]]:
        self._pass += 1
        yield from self._batched(self._pass - 1)

    def measure(self, report: Callable[[float], None]) -> None:
        """Measure every sample of every pass, so that a pass has a length; `report` takes the finished share.

        Of more than MEASURED, so many are measured and a margin is added: a pass then ends a little before its length.
        """
        wanted = list(dict.fromkeys(pick for number in range(self.passes or 0) for pick in self.shares.picks(number)[0]))
        for done, pick in enumerate(wanted[:MEASURED]):
            self._size(pick)
            report((done + 1) / len(wanted[:MEASURED]))
        if len(wanted) > MEASURED:
            part = sum(1 for _ in self._batched(0, MEASURED)) / min(MEASURED, len(self.shares))
            self._batches = ceil(part * len(self.shares) * (1 + MARGIN))
        else:
            self._batches = max((sum(1 for _ in self._batched(number)) for number in range(self.passes or 0)), default=0)

    def _batched(self, number: int, most: int | None = None) -> Iterator[list[Pack]]:
        """Give the batches of (the first so many samples of) a pass: of each window, rows of similar length together."""
        picks, generator = self.shares.picks(number)
        kept: list[list[Pick]] = []  # the emptiest row of a window, which the next one goes on filling
        for window, last in self._windows(picks[:most]):
            packed = sorted((pick for pick in window if self._size(pick)[1]), key=lambda pick: -self._size(pick)[0])
            rows = [[pick] for pick in window if not self._size(pick)[1]]
            filled = first_fit([[self._size(pick)[0] for pick in row] for row in kept],
                               [self._size(pick)[0] for pick in packed], self.pack)
            rows += [[*(kept[i] if i < len(kept) else ()), *(packed[place] for place in row)] for i, row in enumerate(filled)]
            kept = [] if last else self._emptiest(rows)
            yield from shuffled(self._cut(rows), generator)

    def _windows(self, picks: Sequence[Pick]) -> Iterator[tuple[list[Pick], bool]]:
        """Cut a pass into runs of samples that fill about WINDOW batches; say which is the last."""
        window: list[Pick] = []
        positions = 0
        for pick in picks:
            window.append(pick)
            positions += self._size(pick)[0]
            if positions >= WINDOW * self.batch_size * self.pack:
                yield window, False
                window, positions = [], 0
        yield window, True

    def _emptiest(self, rows: list[list[Pick]]) -> list[list[Pick]]:
        """Take the emptiest row that others may share out of `rows`."""
        open_rows = [row for row in rows if self._size(row[0])[1]]
        if not open_rows:
            return []
        emptiest = min(open_rows, key=self._filled)
        rows.remove(emptiest)
        return [emptiest]

    def _cut(self, rows: list[list[Pick]]) -> list[list[Pack]]:
        """Make batches of rows, the longest first."""
        batches: list[list[Pack]] = []
        most = 0
        for row in sorted(rows, key=self._filled, reverse=True):
            if not batches or len(batches[-1]) >= most:
                batches.append([])
                most = max(1, min(self.batch_size, self.batch_size * self.pack // max(1, self._filled(row))))
            batches[-1].append(tuple(row))
        return batches

    def _filled(self, row: Collection[Pick]) -> int:
        return sum(self._size(pick)[0] for pick in row)

    def _size(self, pick: Pick) -> tuple[int, bool]:
        if pick not in self._known:
            sample = self.mixture[pick]
            positions = self.lengths(sample)
            video = any(part.type == "video" for part in questions(sample))
            self._known[pick] = positions, positions <= self.pack and not video
        return self._known[pick]


class PackedSamples(Dataset[list[Sample]]):
    """The samples of a packed row, by their picks."""

    def __init__(self, mixture: MixtureDataset) -> None:
        self.mixture = mixture

    def __getitem__(self, pack: Pack) -> list[Sample]:
        return [self.mixture[pick] for pick in pack]


class PackedCollator:
    """Makes a batch of packed rows of what a collator makes of their samples."""

    def __init__(self, collator: Collator) -> None:
        self.collator = collator
        self.per_token = [name for name in collator.wanted if collator.plan.outputs[name].per_token]

    def __call__(self, rows: Sequence[Sequence[Sample]]) -> Batch:
        """Make one batch; raises DataError naming the sample that does not fit."""
        batch = self.collator([sample for row in rows for sample in row])
        return laid_out(batch, [index for index, row in enumerate(rows) for _ in row], self.per_token)


def first_fit(started: Sequence[Sequence[int]], sizes: Sequence[int], room: int) -> list[list[int]]:
    """Put things of `sizes` into rows of `room`, each into the first one where it fits.

    Args:
        started: sizes of what rows hold already; they come first.

    Returns:
        for each row the places, in `sizes`, of what was put into it.
    """
    left = [room - sum(row) for row in started]
    rows: list[list[int]] = [[] for _ in started]
    for place, size in enumerate(sizes):
        row = next((index for index, free in enumerate(left) if free >= size), len(rows))
        if row == len(rows):
            rows.append([])
            left.append(room)
        rows[row].append(place)
        left[row] -= size
    return rows


def laid_out(batch: Batch, conversation_rows: Sequence[int], per_token: Collection[str]) -> Batch:
    """Lay a batch of one conversation a row out anew.

    Args:
        homes: the row that each conversation goes to, ascending from 0.
        by_token: branches whose targets become one row.
    """
    lengths: list[int] = batch.lengths.tolist()
    filled, starts = [0] * (max(conversation_rows, default=-1) + 1), []
    for home, length in zip(conversation_rows, lengths, strict=True):
        starts.append(filled[home])
        filled[home] += length
    wide, width = batch.tokens.shape[1], max(filled, default=0)
    tokens = torch.zeros(len(filled), width, dtype=torch.int64)
    documents = torch.zeros_like(tokens)
    for index, (home, start) in enumerate(zip(conversation_rows, starts, strict=True)):
        tokens[home, start:start + lengths[index]] = batch.tokens[index, :lengths[index]]
        documents[home, start:start + lengths[index]] = 1 + sum(other == home for other in conversation_rows[:index])
    rows, begins = torch.tensor(conversation_rows, dtype=torch.int64), torch.tensor(starts, dtype=torch.int64)
    shifts = rows * width + begins  # place of each conversation's first position, [C]
    inside = _inside(batch.answers, batch.answer_lengths)
    return replace(
        batch, tokens=tokens, lengths=torch.tensor(filled, dtype=torch.int64), documents=documents, conversation_rows=rows,
        answers=torch.where(inside, batch.answers + begins[:, None], 0),
        target_positions=(batch.answers + shifts[:, None])[inside],
        slots={name: shifts[places // wide] + places % wide for name, places in batch.slots.items()},
        targets={name: _in_a_row(targets) if name in per_token else targets for name, targets in batch.targets.items()})


def _in_a_row(targets: Targets) -> Targets:
    inside = _inside(targets.ids, targets.lengths)
    return Targets(targets.ids[inside][None], targets.lengths.sum()[None])


def _inside(values: Tensor, lengths: Tensor) -> Tensor:
    return torch.arange(values.shape[1]) < lengths[:, None]
