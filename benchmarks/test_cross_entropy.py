"""Cross-entropy chunk by chunk against all logits at once: peak memory and time of forward and backward, in one run."""

import time

import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from omnikit.ops.cross_entropy import chunked_cross_entropy
from omnikit.training.measure import peak_memory

POSITIONS, DIM, VOCABULARY, CHUNK = 1536, 192, 32_000, 2**22
MEMORY, SLOWER = 0.5, 1.7  # limits of the ratios; the output matrix is multiplied four times instead of three


def test_chunks_take_a_fraction_of_the_memory(benchmark: BenchmarkFixture) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    hidden, targets = torch.randn(POSITIONS, DIM, requires_grad=True), torch.randint(VOCABULARY, (POSITIONS,))
    matrix = torch.randn(VOCABULARY, DIM, requires_grad=True)

    def step(most: int) -> tuple[float, float]:
        """Give bytes above what was there before, and seconds of processor time."""
        with peak_memory() as before:
            time.sleep(0.05)
        start = time.process_time()
        with peak_memory() as peak:
            loss = chunked_cross_entropy(hidden, targets, lambda states: states @ matrix.T, VOCABULARY, most)
            gradients: tuple[Tensor, ...] = torch.autograd.grad(loss, (hidden, matrix))
        assert len(gradients) == 2
        return peak[0] - before[0], time.process_time() - start

    def rounds() -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
        pairs = [(step(CHUNK), step(POSITIONS * VOCABULARY)) for _ in range(3)]
        return [pair[0] for pair in pairs], [pair[1] for pair in pairs]

    chunked, whole = benchmark.pedantic(rounds, rounds=1)
    memory = chunked[0][0] / whole[0][0]  # of the first round: later ones find memory that was given back to the process
    seconds = min(spent for _, spent in chunked) / min(spent for _, spent in whole)
    benchmark.extra_info.update(memory=round(memory, 3), time=round(seconds, 3))
    assert memory <= MEMORY and seconds <= SLOWER, (memory, seconds)
