"""Batches that come through slabs are those that a worker made, and no slab is written to while a tensor lies in it."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from omnikit.data.batch.loader import BatchLoader
from omnikit.data.batch.shared_slabs import LendingSampler, SlabPool, SlabWriter


@dataclass
class Made:
    """Tensors of several kinds, and what is none."""

    number: int
    values: Tensor
    image: Tensor
    empty: Tensor
    names: list[str]


def made(number: int) -> Made:
    """Make a batch of a number, larger from one to the next."""
    generator = torch.Generator().manual_seed(number)
    return Made(number, torch.full((number + 1, 3), number, dtype=torch.int64),
                torch.randint(0, 256, (2, 4, 4, 3), generator=generator, dtype=torch.uint8).permute(0, 3, 1, 2),
                torch.zeros(0, 2), [f"row {number}"])


class Numbers:
    """The order of batches 0, 1, 2 …"""

    def __init__(self, count: int) -> None:
        self.size = count

    def batches(self, number: int) -> Iterator[int]:
        return iter(range(self.size))

    def count(self, number: int) -> int:
        return self.size


def assert_same(found: Made, expected: Made) -> None:
    assert (found.number, found.names) == (expected.number, expected.names)
    for name in ("values", "image", "empty"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=0, atol=0)


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_that_are_all_held_stay_what_they_were(workers: int) -> None:
    found = list(BatchLoader(Numbers(20), made, workers=workers, passes=1))  # more than there are slabs
    for batch, number in zip(found, range(20), strict=True):
        assert_same(batch, made(number))


def test_a_batch_that_is_let_go_leaves_others_as_they_were() -> None:
    loader = iter(BatchLoader(Numbers(30), made, workers=1, passes=1))
    held = next(loader)
    part = next(loader).values[1:]  # a view holds the slab, too
    for number, batch in enumerate(loader, 2):
        assert_same(batch, made(number))
    assert_same(held, made(0))
    assert part.tolist() == [[1, 1, 1]]


def test_a_slab_is_lent_again_when_its_last_tensor_is_gone() -> None:
    pool, writer = SlabPool(1, 1), SlabWriter()
    lease = pool.lend()
    assert lease and pool.lend() is None
    batch = writer.packed(made(3), lease).unpacked()
    assert isinstance(batch, Made) and pool.lend() is None
    image = batch.image
    del batch
    assert pool.lend() is None
    del image
    assert pool.lend() == lease


def test_images_keep_their_order_in_memory() -> None:
    pool = SlabPool(1, 1)
    lease = pool.lend()
    assert lease
    batch = SlabWriter().packed(made(0), lease).unpacked()
    assert isinstance(batch, Made) and batch.image.stride() == made(0).image.stride()


def test_a_batch_without_a_slab_travels_as_it_is() -> None:
    assert [lease is None for _, lease in LendingSampler(range(3), workers=1, batches=2)] == [False, False, True]
    assert [lease for _, lease in LendingSampler(range(3), workers=0, batches=2)] == [None] * 3
