"""Cross-entropy chunk by chunk against all logits at once: peak memory and time of forward and backward, in one run."""

import time

import torch
from bench_table import Measures, Ratio
from torch import Tensor

from omnikit.ops.cross_entropy import chunked_cross_entropy
from omnikit.training.measure import peak_memory

POSITIONS, DIM, VOCABULARY, CHUNK = 1536, 192, 32_000, 2**22
MEMORY, SLOWER = 0.5, 1.7  # limits of the ratios; the output matrix is multiplied four times instead of three


def test_chunks_take_a_fraction_of_the_memory(measures: Measures) -> None:
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

    memory, whole = step(CHUNK)[0], step(POSITIONS * VOCABULARY)[0]  # first: freed memory stays
    measures.ratio("peak of cross-entropy in chunks / of all logits", memory, whole, most=MEMORY)
    measures.compare({"chunks": lambda: step(CHUNK)[1], "whole": lambda: step(POSITIONS * VOCABULARY)[1]},
                     Ratio("time of cross-entropy in chunks / of all logits", "chunks", "whole", SLOWER), rounds=3)
