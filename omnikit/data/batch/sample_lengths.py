"""Positions of samples, measured once each, in workers where there are some; and how many batches passes of them have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import ceil
from typing import Protocol

import torch
from torch.utils.data import DataLoader, Dataset

from omnikit.contracts.types import Sample
from omnikit.data.batch.samplers import MixtureDataset, MixtureSampler, RowTable, SampleKey
from omnikit.data.batch.signals import question_media
from omnikit.data.batch.worker_errors import plain_errors

CHUNK = 64  # samples that a worker measures at a time
AHEAD = 4096  # samples that workers measure together, before they are needed
MAX_MEASURED = 20000  # samples before the first step, where the length of a pass is needed
MARGIN = 0.02  # relative error of the mean of so many


class SampleLengths:
    """Owns the positions of a mixture's samples, and whether they hold a video.

    Args:
        mixture: the datasets.
        lengths: gives the positions of a sample.
        workers: processes that measure samples before they are needed; the result does not depend on them.
    """

    def __init__(self, mixture: MixtureDataset, lengths: Callable[[Sample], int], workers: int = 0) -> None:
        self.mixture, self.lengths, self.workers = mixture, lengths, workers
        self._table = RowTable(mixture.readers)  # positions, or -1 - positions where there is a video

    def __call__(self, key: SampleKey) -> int:
        """Give the positions of a sample."""
        return self._found(key)[0]

    def has_video(self, key: SampleKey) -> bool:
        """Say whether a sample's questions hold a video."""
        return self._found(key)[1]

    def in_order(self, keys: Sequence[SampleKey]) -> Iterator[SampleKey]:
        """Give the keys, each measured; workers measure many of them together."""
        for start in range(0, len(keys), AHEAD):
            self.measure(keys[start:start + AHEAD])
            yield from keys[start:start + AHEAD]

    def measure(self, keys: Sequence[SampleKey], report: Callable[[float], None] = lambda fraction: None) -> None:
        """Measure samples that are not yet; `report` takes the finished fraction."""
        missing = [key for key in dict.fromkeys(keys) if self._table.get(key) is None]
        chunks = [missing[start:start + CHUNK] for start in range(0, len(missing), CHUNK)]
        workers = min(self.workers, len(chunks) - 1)  # one chunk is measured sooner here
        measured = DataLoader(_Chunks(self, chunks), batch_size=None, num_workers=max(workers, 0), collate_fn=_same,
                              generator=torch.Generator())  # so that no draw of this process is spent on the workers' seeds
        with plain_errors():
            for done, (chunk, numbers) in enumerate(zip(chunks, measured, strict=True)):
                for key, number in zip(chunk, numbers, strict=True):
                    self._table.set(key, number)
                report((done + 1) / len(chunks))

    def _found(self, key: SampleKey) -> tuple[int, bool]:
        number = self._table.get(key)
        if number is None:
            self.measure([key])
            return self._found(key)
        return int(number if number >= 0 else -1 - number), number < 0

    def _measured(self, keys: Sequence[SampleKey]) -> list[int]:
        found = []
        for key in keys:
            sample = self.mixture[key]
            positions, video = self.lengths(sample), any(part.type == "video" for part in question_media(sample))
            found.append(-1 - positions if video else positions)
        return found


class MeasuredOrder(Protocol):
    """An order of batches that depends on the positions of samples."""

    def batches(self, number: int, most: int | None = None) -> Iterator[Sequence[object]]:
        """Give the batches of a pass, or of its first samples."""
        ...


def passes_batches(order: MeasuredOrder, sampler: MixtureSampler, sizes: SampleLengths, passes: int,
                   report: Callable[[float], None] = lambda fraction: None) -> list[int]:
    """Measure every sample of every pass and give the batches of each pass; `report` takes the finished fraction.

    Of more than MAX_MEASURED, so many are measured and a margin is added: a pass then ends a little before its length.
    """
    keys = list(dict.fromkeys(key for number in range(passes) for key in sampler.sample_keys(number)[0]))
    sizes.measure(keys[:MAX_MEASURED], report)
    if len(keys) <= MAX_MEASURED:
        return [sum(1 for _ in order.batches(number)) for number in range(passes)]
    per_sample = sum(1 for _ in order.batches(0, MAX_MEASURED)) / min(MAX_MEASURED, len(sampler))
    return [ceil(per_sample * len(sampler) * (1 + MARGIN))] * passes


class _Chunks(Dataset[list[int]]):
    def __init__(self, lengths: SampleLengths, chunks: Sequence[Sequence[SampleKey]]) -> None:
        self.lengths, self.chunks = lengths, chunks

    def __len__(self) -> int:
        return len(self.chunks)

    def __getitem__(self, index: int) -> list[int]:
        return self.lengths._measured(self.chunks[index])


def _same(item: list[int]) -> list[int]:  # by default, numbers would become tensors
    return item
