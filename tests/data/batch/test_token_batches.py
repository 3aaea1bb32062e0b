"""Batches of a budget of positions, and lengths that are measured in workers."""

import torch

from omnikit.contracts.types import Message, Sample
from omnikit.data.batch.sample_lengths import SampleLengths
from omnikit.data.batch.samplers import MixtureDataset, MixtureSampler
from omnikit.data.batch.token_batches import TokenBatchSampler

SIZES = torch.randint(1, 60, (300,), generator=torch.Generator().manual_seed(0)).tolist()


class Numbered:
    """Samples whose id is their size."""

    def __init__(self, sizes: list[int]) -> None:
        self.sizes = sizes

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: int) -> Sample:
        return Sample(str(self.sizes[index]), (Message("user", ()),))


def sampler(sizes: list[int] = SIZES, *, budget: int = 100, window: int = 5, passes: int | None = None,
            workers: int = 0) -> TokenBatchSampler:
    mixture = MixtureDataset({"a": Numbered(sizes)})
    lengths = SampleLengths(mixture, lambda sample: int(sample.id), workers)
    return TokenBatchSampler(MixtureSampler(mixture, {"a": 1.0}, 0), lengths, batch_tokens=budget, window=window,
                             passes=passes)


def padded(batches: list[list[tuple[str, int]]], sizes: list[int] = SIZES) -> list[int]:
    return [len(batch) * max(sizes[index] for _, index in batch) for batch in batches]


def test_each_sample_of_a_pass_is_in_one_batch() -> None:
    assert sorted(index for batch in sampler().batches(0) for _, index in batch) == list(range(300))


def test_no_batch_is_larger_than_the_budget_but_a_longer_sample_alone() -> None:
    sizes = [*SIZES, 130, 400]
    found = list(sampler(sizes).batches(0))
    over = [batch for batch, positions in zip(found, padded(found, sizes), strict=True) if positions > 100]
    assert sorted(sizes[index] for batch in over for _, index in batch) == [130, 400]
    assert all(len(batch) == 1 for batch in over)


def test_a_window_fills_batches_better_than_the_order_of_the_data() -> None:
    useful = [sum(SIZES) / sum(padded(list(sampler(window=window).batches(0)))) for window in (1, 20)]
    assert useful[1] > 1.1 * useful[0]


def test_passes_are_counted_and_differ() -> None:
    order = sampler(passes=2)
    assert [order.count(number) for number in range(2)] == [len(list(order.batches(number))) for number in range(2)]
    assert list(order.batches(0)) != list(order.batches(1))


def test_workers_measure_what_this_process_measures() -> None:
    alone, together = (list(sampler(workers=workers).batches(0)) for workers in (0, 2))
    assert alone == together
