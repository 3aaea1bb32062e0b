"""Batches from worker processes through shared memory that is used again: a batch's tensors lie in one slab of it.

A new piece of shared memory for each tensor, as a DataLoader makes it, costs a page fault for every 4 kB on both sides, half of
what decoding a photo takes. Here the process that trains lends a slab's number with the keys of a batch, and takes it back when
the batch's last tensor is gone; where none is left the tensors travel as a DataLoader sends them.
"""

from __future__ import annotations

import io
import itertools
import os
import pickle
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor
from torch.utils.data import Sampler

Item = TypeVar("Item")
ALIGNED = 64  # bytes
SPARE = 1.25  # of a slab's size to what its first batch needs
Address = tuple[int, torch.dtype, tuple[int, ...], tuple[int, ...]]  # of a tensor: offset in bytes, type, shape, strides
_POOLS: weakref.WeakValueDictionary[int, SlabPool] = weakref.WeakValueDictionary()
_NUMBERS = itertools.count()


@dataclass(frozen=True)
class Lease:
    """A slab that a batch may lie in: the pool that lends it, and its number there."""

    pool: int
    number: int


@dataclass(frozen=True)
class PackedBatch:
    """A batch on its way: what it is made of without tensors, and the slab that holds these.

    Args:
        worker: id of the process that owns the slab.
        slab: [N] uint8; None where it was sent before.
    """

    lease: Lease
    worker: int
    content: bytes
    slab: Tensor | None

    def unpacked(self) -> object:
        """Give the batch, in the process whose pool lent the slab."""
        return _POOLS[self.lease.pool].unpacked(self)

    def pin_memory(self) -> object:
        """Give the batch in memory that a GPU copies from without waiting; a DataLoader asks for it by this name."""
        return self.unpacked().pin_memory()  # type: ignore[attr-defined]  # Batch and its like have it


class SlabPool:
    """Owns the numbers of slabs, and the slabs that workers have sent; lives in the process that trains.

    Args:
        workers: items are dealt out to them in turn.
        batches: that are held at the same time, on their way or given.
    """

    def __init__(self, workers: int, batches: int) -> None:
        each = -(-batches // workers)
        self.number = next(_NUMBERS)
        self._free = [deque(range(worker * each, (worker + 1) * each)) for worker in range(workers)]
        self._each, self._dealt = each, 0
        self._slabs: dict[tuple[int, int], Tensor] = {}  # by worker and number
        _POOLS[self.number] = self

    def lend(self) -> Lease | None:
        """Give a slab for the next item; None where all are in use."""
        free = self._free[self._dealt % len(self._free)]
        self._dealt += 1
        return Lease(self.number, free.pop()) if free else None

    def give_back(self, number: int) -> None:
        """Take a slab back that no tensor lies in any more."""
        self._free[number // self._each].append(number)  # the last one is lent first: it is in the caches

    def unpacked(self, packed: PackedBatch) -> object:
        """Give a batch whose tensors lie in its slab, which comes back when the last of them is gone."""
        number = packed.lease.number
        if packed.slab is not None:
            self._slabs[packed.worker, number] = packed.slab
        memory = self._slabs[packed.worker, number].numpy().data
        weakref.finalize(memory, _give_back, weakref.ref(self), number).atexit = False
        return _Unpickler(packed.content, memory).load()


class LendingSampler(Sampler[tuple[Item, Lease | None]], Generic[Item]):
    """Items of another sampler, each with a slab for its batch; without workers with none."""

    def __init__(self, items: Iterable[Item], workers: int, batches: int) -> None:
        self.items, self.workers, self.batches = items, workers, batches
        self.pool: SlabPool | None = None

    def __iter__(self) -> Iterator[tuple[Item, Lease | None]]:
        self.pool = SlabPool(self.workers, self.batches) if self.workers else None
        for item in self.items:
            yield item, self.pool.lend() if self.pool else None


class SlabWriter:
    """Packs batches; owns the slabs of one worker."""

    def __init__(self) -> None:
        self._slabs: dict[int, Tensor] = {}  # by number

    def packed(self, batch: object, lease: Lease) -> PackedBatch:
        """Give a batch whose tensors lie in a slab; where that is too small, in a new one of its number."""
        buffer = io.BytesIO()
        pickler = _Pickler(buffer)
        pickler.dump(batch)
        slab, is_new = self._slabs.get(lease.number), False
        if slab is None or len(slab) < pickler.size:
            slab, is_new = torch.empty(int(SPARE * pickler.size) + ALIGNED, dtype=torch.uint8), True
            slab.share_memory_()  # type: ignore[no-untyped-call]  # of torch
            self._slabs[lease.number] = slab
        for tensor, (offset, dtype, shape, strides) in pickler.tensors:
            place = slab[offset:offset + _count(shape) * dtype.itemsize]
            place.view(dtype).as_strided(shape, strides, place.storage_offset() // dtype.itemsize).copy_(tensor)
        return PackedBatch(lease, os.getpid(), buffer.getvalue(), slab if is_new else None)


class _Pickler(pickle.Pickler):
    """Pickles all but tensors of the CPU, for which it plans addresses."""

    def __init__(self, buffer: io.BytesIO) -> None:
        super().__init__(buffer, protocol=pickle.HIGHEST_PROTOCOL)
        self.size = 0
        self.tensors: list[tuple[Tensor, Address]] = []

    def persistent_id(self, item: object) -> Address | None:
        if type(item) is not Tensor or item.device.type != "cpu" or item.layout != torch.strided or not item.numel():
            return None
        tensor = item.detach()
        if not (tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last)):
            tensor = tensor.contiguous()
        address = self.size, tensor.dtype, tuple(tensor.shape), tensor.stride()
        self.tensors.append((tensor, address))
        self.size += -(-tensor.numel() * tensor.element_size() // ALIGNED) * ALIGNED
        return address


class _Unpickler(pickle.Unpickler):
    def __init__(self, content: bytes, memory: memoryview) -> None:
        super().__init__(io.BytesIO(content))
        self.memory = memory

    def persistent_load(self, address: Address) -> Tensor:
        offset, dtype, shape, strides = address
        return torch.frombuffer(self.memory, dtype=dtype, count=_count(shape), offset=offset).as_strided(shape, strides)


def _count(shape: tuple[int, ...]) -> int:
    return torch.Size(shape).numel()


def _give_back(pool: weakref.ref[SlabPool], number: int) -> None:
    found = pool()
    if found is not None:
        found.give_back(number)
