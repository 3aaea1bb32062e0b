"""Learned prompts: nothing is encoded, and the projector gives its own vectors. Know no task."""

import torch
from torch import Tensor, nn

from omnikit.contracts.types import Features, Signal
from omnikit_basics.projectors import PROMPT_SPREAD


class PlaceEncoder(nn.Module):
    """One zero [1, 1] for each place; it has no parameters."""

    def forward(self, signal: Signal) -> Features:
        return Features(signal.data.new_zeros(len(signal.data), 1, 1), torch.ones_like(signal.lengths))


class PromptProjector(nn.Module):
    """`prompt_embeddings` [count, D] for each place."""

    prompt_embeddings: Tensor

    def __init__(self, count: int, dim: int) -> None:
        super().__init__()
        self.prompt_embeddings = nn.Parameter(PROMPT_SPREAD * torch.randn(count, dim))

    def forward(self, features: Features) -> Features:
        vectors = self.prompt_embeddings.expand(len(features.data), -1, -1)
        return Features(vectors, torch.full_like(features.lengths, len(self.prompt_embeddings)))
