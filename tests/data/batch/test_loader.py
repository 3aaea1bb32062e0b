"""A loader begins at any position of its order, and gives the same batches whoever makes them."""

import random
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from doubles import EchoDataset, EchoReader

from omnikit.data.batch.loader import BatchLoader, CollatedRows, NumberedBatches, Position, worker_count
from omnikit.data.batch.packing import PackingSampler
from omnikit.data.batch.sample_lengths import SampleLengths
from omnikit.data.batch.samplers import LengthBucketSampler, MixtureDataset, MixtureSampler, SampleKey

MIXTURE = MixtureDataset({"a": EchoReader(EchoDataset(22)), "b": EchoReader(EchoDataset(7, textual=1))})
WEIGHTS = {"a": 1.0, "b": 1.0}


def buckets() -> LengthBucketSampler:
    return LengthBucketSampler(MIXTURE, WEIGHTS, 4, 0, window=3)


def packs() -> PackingSampler:
    return PackingSampler(MixtureSampler(MIXTURE, WEIGHTS, 0), SampleLengths(MIXTURE, lambda sample: len(sample.id)),
                          batch_size=2, pack=12)


def drawn(keys: object) -> tuple[object, float, float, float]:
    """A batch that draws from every generator there is."""
    return keys, torch.rand(()).item(), float(np.random.rand()), random.random()


@pytest.mark.parametrize("order", [buckets(), packs(), NumberedBatches(5)], ids=["buckets", "packs", "numbers"])
@pytest.mark.parametrize("batch", range(1, 17, 3))
def test_a_loader_begins_at_any_batch(order: LengthBucketSampler, batch: int) -> None:
    whole = BatchLoader(order, drawn, seed=3, batches=20)
    expected, positions = [], [Position()]
    for made in whole:
        expected.append(made)
        whole.finished()
        positions.append(whole.position)
    found = list(BatchLoader(order, drawn, seed=3, batches=20 - batch, start=positions[batch]))
    assert found == expected[batch:]


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_draw_what_one_process_draws(workers: int) -> None:
    alone = list(BatchLoader(buckets(), drawn, seed=3, passes=1))
    assert list(BatchLoader(buckets(), drawn, seed=3, passes=1, workers=workers)) == alone


def test_making_a_batch_leaves_the_generators_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    assert len(list(BatchLoader(buckets(), drawn, passes=1))) == len(buckets())
    assert torch.equal(torch.rand(3), expected)


def test_passes_end_a_loader() -> None:
    order = NumberedBatches(5)
    assert list(BatchLoader(order, int, passes=3)) == list(range(15))
    assert list(BatchLoader(order, int, passes=3, start=Position(2, 5))) == []


def test_a_window_is_made_before_its_first_batch_is_given() -> None:
    made: list[int] = []
    given = iter(BatchLoader(NumberedBatches(5), made.append, window=3))
    next(given)
    assert made == [0, 1, 2]


def test_rows_of_a_batch_are_collated() -> None:
    def collate(rows: Sequence[object]) -> list[str]:
        return [row.id for row in rows]

    keys: list[SampleKey] = [("a", 3), ("b", 1)]
    assert CollatedRows(MIXTURE, collate)(keys) == ["row3", "row1"]


@pytest.mark.parametrize(("wanted", "gpu", "expected"), [(3, True, 3), (0, True, 0), (None, False, 0), (None, True, 5)])
def test_workers_are_those_of_the_machine_beside_a_gpu(monkeypatch: pytest.MonkeyPatch, wanted: int | None, gpu: bool,
                                                       expected: int) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(6)))
    assert worker_count(wanted, gpu=gpu) == expected
