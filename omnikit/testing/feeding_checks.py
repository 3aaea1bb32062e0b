"""Checks of heads whose codes the backbone reads: training and answers give it the same."""

from __future__ import annotations

import torch
from torch import Tensor

from omnikit.contracts.optional import head_options
from omnikit.contracts.types import Features, Targets
from omnikit.testing.check import Check
from omnikit.testing.computation_checks import CLOSE
from omnikit.testing.head_probe import HeadProbe
from omnikit.testing.results import CheckFailure, NotApplicable

STEPS = 40  # of an answer


@torch.no_grad()
def feedback(probe: HeadProbe) -> None:
    """What `feedback` gives step by step is what `inputs` gives of the same codes; behind a row's last step that is 0."""
    steps, codec = head_options(probe.config).steps, probe.codec
    if steps is None or codec is None:
        raise NotApplicable("the backbone does not read its codes")
    codes, fed = _answer(probe)
    if not codes:
        raise CheckFailure(f"it gives no code in {STEPS} steps of random hidden states")
    inputs: Tensor = probe.module.inputs(Targets(torch.tensor([codes, codes]), torch.tensor([len(codes), 1])))
    if inputs.shape[1] != steps(len(codes), codec.codebooks):
        raise CheckFailure(f"`inputs` gives {inputs.shape[1]} vectors for {len(codes)} frames, but `steps` gives"
                           f" {steps(len(codes), codec.codebooks)}")
    both = min(len(codes), len(fed))  # a frame's codes stand at its own step or later, so that these hold no end yet
    gap = float((inputs[0, :both] - fed[:both]).abs().max() / fed.abs().max().clamp(min=1e-6))
    if gap > CLOSE:
        raise CheckFailure(f"`feedback` differs from `inputs` of the same codes by {gap:.2g} of the largest number, so that the"
                           " backbone reads something else in answers than in training")
    if bool(inputs[1, steps(1, codec.codebooks) - 1:].any()):
        raise CheckFailure("`inputs` is not 0 from a row's last step on, though no answer has anything there")


def _answer(probe: HeadProbe) -> tuple[list[tuple[int, ...]], Tensor]:
    """Give the codes of random hidden states, and what is fed behind each step [S, D]."""
    module, codes, fed = probe.module, list[tuple[int, ...]](), list[Tensor]()
    hidden = torch.randn(1, STEPS, probe.source.dim, generator=torch.Generator().manual_seed(5))
    state = module.init_state(1)
    for vector in hidden.unbind(1):
        found, state = module.step(Features(vector[:, None], torch.ones(1, dtype=torch.int64)), state)
        codes += found[0]
        fed.append(module.feedback(state)[0])
    return codes, torch.stack(fed)


CHECKS = (Check("feedback", feedback, ("head",), ("builds", "deterministic")),)
