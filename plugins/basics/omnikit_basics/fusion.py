"""Projectors that take the features of several encoders; they depend on no encoder and no backbone."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from omnikit.contracts.types import Features
from omnikit_basics.config.fusion import ConcatMlp
from omnikit_basics.projectors import ACTIVATIONS


class ConcatProjector(nn.Module):
    """A Linear for each source [B, T, D], joined channel by channel, and Linears behind activations."""

    def __init__(self, config: ConcatMlp, sources: Sequence[int], dim: int) -> None:
        super().__init__()
        width = config.width(len(sources), dim)
        self.inputs = nn.ModuleList(nn.Linear(source, width) for source in sources)
        widths = [width * len(sources), *[dim] * config.depth]
        behind = [(ACTIVATIONS[config.activation](), nn.Linear(*pair)) for pair in pairwise(widths)]
        self.layers = nn.Sequential(*(module for pair in behind for module in pair))

    def forward(self, *features: Features) -> Features:
        projected, lengths = _aligned(self.inputs, features)
        return Features(self.layers(torch.cat(projected, dim=-1)), lengths, features[0].rate)


class SumProjector(nn.Module):
    """A Linear for each source, and the sum of what they give by a softmax of learned weights [sources]."""

    def __init__(self, sources: Sequence[int], dim: int) -> None:
        super().__init__()
        self.inputs = nn.ModuleList(nn.Linear(source, dim) for source in sources)
        self.weights = nn.Parameter(torch.zeros(len(sources)))

    def forward(self, *features: Features) -> Features:
        projected, lengths = _aligned(self.inputs, features)
        weighted = torch.stack(projected, dim=-1) @ self.weights.softmax(0)
        return Features(weighted, lengths, features[0].rate)


class SequenceProjector(nn.Module):
    """A Linear for each source [B, T, D]; of each row the vectors of all sources, one source behind another."""

    def __init__(self, sources: Sequence[int], dim: int) -> None:
        super().__init__()
        self.inputs = nn.ModuleList(nn.Linear(source, dim) for source in sources)

    def forward(self, *features: Features) -> Features:
        projected = [layer(each.data) for layer, each in zip(self.inputs, features, strict=True)]
        lengths = torch.stack([each.lengths for each in features])  # [sources, B]
        data = projected[0].new_zeros(len(projected[0]), sum(each.shape[1] for each in projected), projected[0].shape[2])
        begin = torch.zeros_like(lengths[0])
        for each, length in zip(projected, lengths, strict=True):
            steps = torch.arange(each.shape[1], device=length.device)
            positions = begin[:, None] + steps  # [B, T]; what lies beyond a row's length is overwritten or beyond the sum
            valid = each.where(steps[None, :, None] < length[:, None, None], 0)
            data = data.scatter(1, positions[..., None].expand_as(each), valid)
            begin = begin + length
        rates = [each.rate for each in features if each.rate is not None]
        return Features(data, lengths.sum(0), sum(rates[1:], rates[0]) if rates else None)


def _aligned(layers: nn.ModuleList, features: Sequence[Features]) -> tuple[list[Tensor], Tensor]:
    """Give each source projected, all cut to the shortest, and the lengths that all of them have."""
    shortest = min(each.data.shape[1] for each in features)
    projected = [layer(each.data[:, :shortest]) for layer, each in zip(layers, features, strict=True)]
    return projected, torch.stack([each.lengths for each in features]).amin(0)
