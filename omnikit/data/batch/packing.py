"""Pack several conversations into one sequence: which stand together, and how their batch is laid out. Reads no medium."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from omnikit.contracts.types import Batch, Sample, Targets
from omnikit.data.batch.collate import Collator
from omnikit.data.batch.sample_lengths import SampleLengths, passes_batches
from omnikit.data.batch.samplers import MixtureDataset, MixtureSampler, SampleKey, shuffle

Pack = tuple[SampleKey, ...]
WINDOW = 50  # batches that are filled together


class PackingSampler(Sampler[list[Pack]]):
    """Batches of packed sequences, one pass after another, each sample of a pass once; the seed decides the order.

    Sequences are filled in a window, the longest sample first, each into the first one where it fits. A sample with a video, or
    of more than `pack` positions, is a sequence of its own. A batch has at most `batch_size` sequences, and fewer where longer
    ones than `pack` would make it larger than so many full ones.

    Args:
        mixture_sampler: which samples a pass draws.
        sizes: the positions of each.
        batch_size: sequences in a batch.
        pack: positions of a sequence.
        passes: how many passes there will be, where that is set; then, and only then, a pass has a length.
    """

    def __init__(self, mixture_sampler: MixtureSampler, sizes: SampleLengths, *, batch_size: int, pack: int,
                 passes: int | None = None) -> None:
        self.mixture_sampler, self.sizes = mixture_sampler, sizes
        self.batch_size, self.pack, self.passes = batch_size, pack, passes
        self._pass = 0
        self._counts: list[int] = []  # batches of each pass

    def __len__(self) -> int:
        """Give the batches of the longest pass, see `measure`; TypeError where no end is set."""
        if self.passes is None:
            raise TypeError("passes without end have no length")
        if not self._counts:
            self.measure(lambda fraction: None)
        return max(self._counts, default=0)

    def __iter__(self) -> Iterator[list[Pack]]:
        self._pass += 1
        return self.batches(self._pass - 1)

    def count(self, number: int) -> int:
        """Give the batches of a pass, or, of more than MAX_MEASURED samples, a number that is a little larger."""
        self.__len__()
        return self._counts[number]

    def measure(self, report: Callable[[float], None]) -> None:
        """Measure samples, so that a pass has a length."""
        self._counts = passes_batches(self, self.mixture_sampler, self.sizes, self.passes or 0, report)

    def batches(self, number: int, most: int | None = None) -> Iterator[list[Pack]]:
        """Give the batches of (the first so many samples of) a pass: of each window, sequences of similar length together."""
        keys, generator = self.mixture_sampler.sample_keys(number)
        unfilled: list[list[SampleKey]] = []  # the emptiest sequence of a window, which the next window fills further
        for window, last in self._windows(keys[:most]):
            packed = sorted((key for key in window if self._size(key)[1]), key=lambda key: -self._size(key)[0])
            sequences = [[key] for key in window if not self._size(key)[1]]
            filled = first_fit([[self._size(key)[0] for key in sequence] for sequence in unfilled],
                               [self._size(key)[0] for key in packed], self.pack)
            sequences += [[*(unfilled[i] if i < len(unfilled) else ()), *(packed[index] for index in indices)]
                          for i, indices in enumerate(filled)]
            unfilled = [] if last else self._emptiest(sequences)
            yield from shuffle(self._split(sequences), generator)

    def _windows(self, keys: Sequence[SampleKey]) -> Iterator[tuple[list[SampleKey], bool]]:
        """Cut a pass into windows of samples that fill about WINDOW batches; True marks the last."""
        window: list[SampleKey] = []
        positions = 0
        for key in self.sizes.in_order(keys):
            window.append(key)
            positions += self._size(key)[0]
            if positions >= WINDOW * self.batch_size * self.pack:
                yield window, False
                window, positions = [], 0
        yield window, True

    def _emptiest(self, sequences: list[list[SampleKey]]) -> list[list[SampleKey]]:
        """Take the emptiest sequence that others may share out of `sequences`."""
        shared = [sequence for sequence in sequences if self._size(sequence[0])[1]]
        if not shared:
            return []
        emptiest = min(shared, key=self._filled)
        sequences.remove(emptiest)
        return [emptiest]

    def _split(self, sequences: list[list[SampleKey]]) -> list[list[Pack]]:
        """Make batches of sequences, the longest first."""
        batches: list[list[Pack]] = []
        most = 0
        for sequence in sorted(sequences, key=self._filled, reverse=True):
            if not batches or len(batches[-1]) >= most:
                batches.append([])
                most = max(1, min(self.batch_size, self.batch_size * self.pack // max(1, self._filled(sequence))))
            batches[-1].append(tuple(sequence))
        return batches

    def _filled(self, sequence: Collection[SampleKey]) -> int:
        return sum(self._size(key)[0] for key in sequence)

    def _size(self, key: SampleKey) -> tuple[int, bool]:
        """Give the positions of a sample, and whether it may be packed."""
        positions = self.sizes(key)
        return positions, positions <= self.pack and not self.sizes.has_video(key)


class PackedSamples(Dataset[list[Sample]]):
    """The samples of a packed sequence, by their keys."""

    def __init__(self, mixture: MixtureDataset) -> None:
        self.mixture = mixture

    def __getitem__(self, pack: Pack) -> list[Sample]:
        return [self.mixture[key] for key in pack]


class PackedCollator:
    """Makes a batch of packed rows of what a collator makes of their samples."""

    def __init__(self, collator: Collator) -> None:
        self.collator = collator
        self.per_token = [name for name in collator.branches if collator.plan.outputs[name].per_token]

    def __call__(self, rows: Sequence[Sequence[Sample]]) -> Batch:
        """Make one batch; raises DataError naming the sample that does not fit."""
        batch = self.collator([sample for row in rows for sample in row])
        return pack_batch(batch, [index for index, row in enumerate(rows) for _ in row], self.per_token)


def first_fit(started: Sequence[Sequence[int]], sizes: Sequence[int], capacity: int) -> list[list[int]]:
    """Put items of `sizes` into bins of `capacity`, each into the first one where it fits.

    Args:
        started: sizes of the items that bins hold already; these bins come first.

    Returns:
        for each bin the indices, in `sizes`, of the items that were put into it.
    """
    free = [capacity - sum(held) for held in started]
    bins: list[list[int]] = [[] for _ in started]
    for item, size in enumerate(sizes):
        first = next((index for index, space in enumerate(free) if space >= size), len(bins))
        if first == len(bins):
            bins.append([])
            free.append(capacity)
        bins[first].append(item)
        free[first] -= size
    return bins


def pack_batch(batch: Batch, conversation_rows: Sequence[int], per_token: Collection[str]) -> Batch:
    """Pack a batch that has one conversation in each sequence.

    Args:
        conversation_rows: the sequence that each conversation goes to, ascending from 0.
        per_token: branches whose targets are concatenated.
    """
    lengths: list[int] = batch.lengths.tolist()
    filled, starts = [0] * (max(conversation_rows, default=-1) + 1), []
    for row, length in zip(conversation_rows, lengths, strict=True):
        starts.append(filled[row])
        filled[row] += length
    unpacked, width = batch.tokens.shape[1], max(filled, default=0)
    tokens = torch.zeros(len(filled), width, dtype=torch.int64)
    documents = torch.zeros_like(tokens)
    for index, (row, start) in enumerate(zip(conversation_rows, starts, strict=True)):
        tokens[row, start:start + lengths[index]] = batch.tokens[index, :lengths[index]]
        documents[row, start:start + lengths[index]] = 1 + sum(other == row for other in conversation_rows[:index])
    rows, begins = torch.tensor(conversation_rows, dtype=torch.int64), torch.tensor(starts, dtype=torch.int64)
    shifts = rows * width + begins  # index of each conversation's first position, [C]
    inside = _inside(batch.answers, batch.answer_lengths)
    return replace(
        batch, tokens=tokens, lengths=torch.tensor(filled, dtype=torch.int64), documents=documents, conversation_rows=rows,
        answers=torch.where(inside, batch.answers + begins[:, None], 0),
        target_positions=(batch.answers + shifts[:, None])[inside],
        slots={name: shifts[slots // unpacked] + slots % unpacked for name, slots in batch.slots.items()},
        starts={name: [start + starts[row] for start, row in zip(found, batch.rows[name], strict=True)]
                for name, found in batch.starts.items()},
        targets={name: _concatenated(targets) if name in per_token else targets for name, targets in batch.targets.items()})


def _concatenated(targets: Targets) -> Targets:
    inside = _inside(targets.ids, targets.lengths)
    return Targets(targets.ids[inside][None], targets.lengths.sum()[None])


def _inside(values: Tensor, lengths: Tensor) -> Tensor:
    return torch.arange(values.shape[1]) < lengths[:, None]
