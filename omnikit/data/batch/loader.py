"""Batches of a stage in their order, from any position on, made in this process or in workers. Uses no model.

An order gives the keys of the batches of a pass, and rows are read by their keys: no batch before the position is read. What
reading or collating draws at random is seeded by the batch's position alone, so that neither the number of workers nor a
resumed stage changes it.
"""

import os
import random
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, islice
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from omnikit.data.batch.shared_slabs import Lease, LendingSampler, PackedBatch, SlabWriter

Key = TypeVar("Key")
KeyIn = TypeVar("KeyIn", contravariant=True)
KeyOut = TypeVar("KeyOut", covariant=True)
Row = TypeVar("Row")
RowOut = TypeVar("RowOut", covariant=True)
Made = TypeVar("Made")
MAX_WORKERS = 8  # where nobody asks for more: each holds the datasets' readers
PREFETCHED = 2  # batches that a worker makes ahead, torch's default
HELD = 3  # batches that a trainer holds beside a window
GRACE = 60  # seconds that a worker goes on after a SIGTERM, which a cluster sends to every process of a job


@dataclass(frozen=True, order=True)
class Position:
    """Where a stage stands in its data: a pass, and a batch of it; both from 0."""

    number: int = 0
    batch: int = 0


@dataclass(frozen=True)
class Place:
    """A batch of one rank.

    Args:
        position: of the batch.
        next: of the batch that comes after all that is trained on once this one is, on every rank.
        repeated: whether another rank trains on it; this one has none left in the last window, but takes part in its step.
    """

    position: Position
    next: Position
    repeated: bool = False


class BatchOrder(Protocol[KeyOut]):
    """Which rows each batch of each pass holds; only a seed decides it."""

    def batches(self, number: int) -> Iterator[KeyOut]:
        """Give the keys of each batch of a pass."""
        ...

    def count(self, number: int) -> int:
        """Give the batches of a pass; where that is unknown, no fewer than there will be."""
        ...


@runtime_checkable
class SeekableOrder(Protocol[KeyOut]):
    """An order that gives a pass's batches from any one on without looking at rows before it."""

    def batches_from(self, number: int, first: int) -> Iterator[KeyOut]:
        """Give the keys of each batch of a pass from one on."""
        ...


@dataclass(frozen=True)
class NumberedBatches:
    """The order of batches that are drawn by their number alone: passes of `size` batches, numbered on through all of them."""

    size: int

    def batches(self, number: int) -> Iterator[int]:
        """Give the numbers of the batches of a pass."""
        return iter(range(number * self.size, (number + 1) * self.size))

    def count(self, number: int) -> int:
        """Give the batches of a pass."""
        return self.size


def worker_count(wanted: int | None, *, gpu: bool) -> int:
    """Give how many workers make batches: as many as are wanted, else as the machine has cores beside a GPU, up to MAX_WORKERS.

    Where the CPU trains there are none: what they do would take its time. The batches are the same, whatever the number.
    """
    if wanted is not None:
        return wanted
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MAX_WORKERS, max(1, cores - 1)) if gpu else 0


class Rows(Protocol[KeyIn, RowOut]):
    """Rows by key."""

    def __getitem__(self, key: KeyIn, /) -> RowOut: ...


class CollatedRows(Generic[Key, Row, Made]):
    """Makes a batch of the keys of its rows."""

    def __init__(self, rows: Rows[Key, Row], collate: Callable[[Sequence[Row]], Made]) -> None:
        self.rows, self.collate = rows, collate

    def __call__(self, keys: Sequence[Key]) -> Made:
        return self.collate([self.rows[key] for key in keys])


class BatchLoader(Generic[Key, Made]):
    """Iterates over batches from a position on, accumulation window by window; `finished` is called as each is trained on.

    Of several ranks each has every world-th batch: together they have the batches of an accumulation window that many times
    as long.

    It has no length: Lightning then fetches one batch ahead, so that it steps at the end of an incomplete last window.

    Args:
        order: the keys of each batch.
        make: makes a batch of them.
        seed: of what making draws at random.
        workers: processes that make batches; 0 makes them in this one.
        window: batches of an accumulation window, which are made before the first of them is given.
        on_window: adds to the batches of a window what they share.
        start: the first batch.
        passes, batches: passes in all, and batches from `start` on, after which it ends; None: neither.
        rank, world: which of how many processes this is.
    """

    def __init__(self, order: BatchOrder[Key], make: Callable[[Key], Made], *, seed: int = 0, workers: int = 0, window: int = 1,
                 on_window: Callable[[Sequence[Made]], None] | None = None, start: Position = Position(),
                 passes: int | None = None, batches: int | None = None, rank: int = 0, world: int = 1) -> None:
        self.window, self.position = window, start  # of the batch that is trained on next
        self.on_window = on_window
        self._given: deque[Position] = deque()
        self._made: Iterator[tuple[Place, Any]] = iter(())
        keys = PositionSampler(order, start, passes, batches)
        mine = RankSampler(keys, window, rank, world) if world > 1 else keys
        self._loader: DataLoader[tuple[Place, Made | PackedBatch]] = DataLoader(
            SeededBatches(make, seed), sampler=LendingSampler(mine, workers, PREFETCHED * workers + window + HELD),
            batch_size=None, collate_fn=_same, num_workers=workers, prefetch_factor=PREFETCHED if workers else None,
            generator=torch.Generator(), worker_init_fn=_outlast_signals, pin_memory=torch.cuda.is_available())

    def __iter__(self) -> Iterator[Made]:
        self._made = iter(self._loader)
        unpacked = map(_unpacked, self._made)
        while window := list(islice(unpacked, self.window)):
            for place, batch in window:
                if place.repeated:
                    vars(batch).update(repeated=True, target_counts={})  # it counts nothing
            if self.on_window:
                self.on_window([batch for _, batch in window])
            for place, batch in window:
                self._given.append(place.next)
                yield batch

    def close(self) -> None:
        """End the workers, also where an exception still refers to what they give."""
        end = getattr(self._made, "_shutdown_workers", None)  # torch ends them only when nothing refers to them
        if end is not None:
            end()

    def finished(self) -> None:
        """Take note that the oldest batch that was given has been trained on."""
        self.position = self._given.popleft()


class PositionSampler(Sampler[tuple[Place, Key]], Generic[Key]):
    """The place and the keys of each batch; see BatchLoader."""

    def __init__(self, order: BatchOrder[Key], start: Position, passes: int | None, batches: int | None) -> None:
        self.order, self.start, self.passes, self.limit = order, start, passes, batches

    def __iter__(self) -> Iterator[tuple[Place, Key]]:
        return islice(self._all(), self.limit)

    def _all(self) -> Iterator[tuple[Place, Key]]:
        for number in count(self.start.number):
            if self.passes is not None and number >= self.passes:
                return
            first = self.start.batch if number == self.start.number else 0
            for index, keys in enumerate(_batches_from(self.order, number, first), first):
                yield Place(Position(number, index), Position(number, index + 1)), keys


class RankSampler(Sampler[tuple[Place, Key]], Generic[Key]):
    """One rank's batches of all batches: of each accumulation window of all ranks every world-th.

    In an incomplete last window a rank may have a batch less than others; it repeats one, which counts nothing.
    """

    def __init__(self, batches: PositionSampler[Key], window: int, rank: int, world: int) -> None:
        self.batches, self.window, self.rank, self.world = batches, window, rank, world

    def __iter__(self) -> Iterator[tuple[Place, Key]]:
        left = iter(self.batches)
        while window := list(islice(left, self.window * self.world)):
            end = window[-1][0].next
            for first in range(0, len(window), self.world):
                there = first + self.rank < len(window)
                place, keys = window[first + self.rank if there else 0]
                yield Place(place.position, end, repeated=not there), keys


class SeededBatches(Dataset[tuple[Place, Made | PackedBatch]], Generic[Key, Made]):
    """Batches by place and keys, packed where a slab is lent."""

    def __init__(self, make: Callable[[Key], Made], seed: int) -> None:
        self.make, self.seed, self.writer = make, seed, SlabWriter()

    def __getitem__(self, item: tuple[tuple[Place, Key], Lease | None]) -> tuple[Place, Made | PackedBatch]:
        (place, keys), lease = item
        with seeded_draws(self.seed, place.position):
            batch = self.make(keys)
        return place, batch if lease is None else self.writer.packed(batch, lease)


@contextmanager
def seeded_draws(seed: int, position: Position) -> Iterator[None]:
    """Seed what is drawn on the CPU from here on by a batch's position; this process then draws on as if nothing was drawn."""
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    number = int(np.random.SeedSequence((seed % 2**63, position.number, position.batch)).generate_state(1)[0])
    torch.default_generator.manual_seed(number)
    np.random.seed(number)
    random.seed(number)
    try:
        yield
    finally:
        if get_worker_info() is None:
            torch.set_rng_state(states[0])
            np.random.set_state(states[1])
            random.setstate(states[2])


def _outlast_signals(worker: int) -> None:
    """Leave a stop to the process that trains, which needs its workers to the end of the step."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.alarm(GRACE))


def _batches_from(order: BatchOrder[Key], number: int, first: int) -> Iterator[Key]:
    """Give the keys of a pass's batches from one on, where an order can without making those before it."""
    if isinstance(order, SeekableOrder):
        return order.batches_from(number, first)
    return islice(order.batches(number), first, None)


def _unpacked(item: tuple[Place, Any]) -> tuple[Place, Any]:
    place, batch = item
    return place, batch.unpacked() if isinstance(batch, PackedBatch) else batch


def _same(item: Any) -> Any:  # by default, arrays would become tensors
    return item
