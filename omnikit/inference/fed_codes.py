"""Codes of the branch whose codes the backbone reads: each step's, and what is added to the next input."""

from __future__ import annotations

import torch
from torch import Tensor

from omnikit.contracts.codes import Code
from omnikit.model import OmniModel
from omnikit.plan.plan import OutputBranch


class FedCodes:
    """Codes of the branch whose codes the backbone reads, step by step.

    Args:
        model: with such a branch.
        output: it.
        count: answers.
    """

    def __init__(self, model: OmniModel, output: OutputBranch, count: int) -> None:
        self.model, self.output, self.head = model, output, model.feeding_head(output.name)
        self.state = self.head.init_state(count)
        assert model.plan.backbone, "such a branch taps it"
        self.context = model.plan.backbone.context

    @classmethod
    def of(cls, model: OmniModel, count: int) -> FedCodes | None:
        """Give those of a model; None where the backbone reads no codes."""
        output = next((output for output in model.plan.outputs.values() if output.feeds), None)
        return cls(model, output, count) if output else None

    @property
    def finished(self) -> bool:
        """Whether every answer has its last code."""
        return all(self.head.finished(self.state))

    def step(self, hidden: Tensor) -> list[list[Code]]:
        """Take the hidden states [B, N, D] of a step, of which the last counts; gives each answer's complete codes."""
        lengths = torch.ones(len(hidden), dtype=torch.int64, device=hidden.device)
        codes, self.state = self.head.step(self.model.head_input(self.output, hidden[:, -1:], lengths), self.state)
        return codes

    def added(self, inputs: Tensor) -> Tensor:
        """Add the codes of the last step to the backbone's next inputs [B, 1, D]."""
        return inputs + self.head.feedback(self.state)[:, None].to(inputs.dtype)
