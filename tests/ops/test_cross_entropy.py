"""Chunked cross-entropy against torch's own on all logits."""

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional as F

from omnikit.ops.cross_entropy import PADDING, chunked_cross_entropy

N, D, V = 50, 8, 97


@pytest.fixture
def problem() -> tuple[Tensor, Tensor, nn.Linear]:
    """Hidden states, targets of which every seventh is none, and an output matrix."""
    torch.manual_seed(0)
    targets = torch.randint(V, (N,))
    targets[::7] = PADDING
    return torch.randn(N, D, requires_grad=True), targets, nn.Linear(D, V, bias=False)


def gradients(loss: Tensor, hidden: Tensor, matrix: nn.Linear) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss, (hidden, matrix.weight))


@pytest.mark.parametrize("most", [V, 7 * V, 49 * V, 50 * V], ids=["one", "seven", "all but one", "all"])
def test_loss_and_gradients_are_those_of_all_logits(problem: tuple[Tensor, Tensor, nn.Linear], most: int) -> None:
    hidden, targets, matrix = problem
    plain = F.cross_entropy(matrix(hidden), targets, ignore_index=PADDING)
    chunked = chunked_cross_entropy(hidden, targets, matrix, V, most)
    torch.testing.assert_close(chunked, plain, rtol=1e-6, atol=1e-6)  # the order of sums differs
    torch.testing.assert_close(gradients(chunked, hidden, matrix), gradients(plain, hidden, matrix), rtol=1e-6, atol=1e-6)


def test_no_tensor_of_all_logits_is_saved_for_the_backward_pass(problem: tuple[Tensor, Tensor, nn.Linear]) -> None:
    hidden, targets, matrix = problem
    sizes: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        sizes.append(tensor.numel())
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        chunked_cross_entropy(hidden, targets, matrix, V, 7 * V)
    assert max(sizes, default=0) < 7 * V


def test_in_bfloat16_autocast_it_stays_near_float32(problem: tuple[Tensor, Tensor, nn.Linear]) -> None:
    hidden, targets, matrix = problem
    plain = F.cross_entropy(matrix(hidden), targets, ignore_index=PADDING)
    with torch.autocast("cpu", torch.bfloat16):
        chunked = chunked_cross_entropy(hidden, targets, matrix, V, 7 * V)
    assert chunked.dtype == torch.float32
    torch.testing.assert_close(gradients(chunked, hidden, matrix)[1], gradients(plain, hidden, matrix)[1], rtol=0.1, atol=1e-3)
