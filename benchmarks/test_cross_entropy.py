"""Cross-entropy chunk by chunk against all logits at once: peak memory and time of forward and backward, in one run."""

import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import torch
from bench_table import Measures, Ratio
from process_memory import ENVIRONMENT
from torch import Tensor

from omnikit.ops.cross_entropy import chunked_cross_entropy

POSITIONS, DIM, VOCABULARY, CHUNK = 1536, 192, 32_000, 2**22
WHOLE = POSITIONS * VOCABULARY
MEMORY, SLOWER = 0.5, 1.7  # limits of the ratios; the output matrix is multiplied four times instead of three


def test_chunks_take_a_fraction_of_the_memory(measures: Measures) -> None:
    measures.ratio("peak of cross-entropy in chunks / of all logits", peak(CHUNK), peak(WHOLE), most=MEMORY)
    measures.compare({"chunks": partial(seconds, CHUNK), "whole": partial(seconds, WHOLE)},
                     Ratio("time of cross-entropy in chunks / of all logits", "chunks", "whole", SLOWER), rounds=3)


def peak(most: int) -> float:
    """Give the largest memory above what was there before, of a process of its own, which holds none that was freed."""
    code = ("from process_memory import megabytes; from test_cross_entropy import seconds; before = megabytes('VmRSS');"
            f" seconds({most}); print(megabytes('VmHWM') - before)")
    return float(subprocess.check_output([sys.executable, "-c", code], cwd=Path(__file__).parent,
                                         env=ENVIRONMENT, text=True))


def seconds(most: int) -> float:
    """Take the gradients of a loss with at most so many logits in memory at once; give seconds of processor time."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    hidden, targets = torch.randn(POSITIONS, DIM, requires_grad=True), torch.randint(VOCABULARY, (POSITIONS,))
    matrix = torch.randn(VOCABULARY, DIM, requires_grad=True)
    start = time.process_time()
    loss = chunked_cross_entropy(hidden, targets, lambda states: states @ matrix.T, VOCABULARY, most)
    gradients: tuple[Tensor, ...] = torch.autograd.grad(loss, (hidden, matrix))
    assert len(gradients) == 2
    return time.process_time() - start
