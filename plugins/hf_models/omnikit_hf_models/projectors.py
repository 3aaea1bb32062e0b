"""Projectors of classes of transformers, under its names; what has weights of its own there is its own module."""

from collections.abc import Callable, Mapping
from math import isqrt

import torch
from torch import Tensor, nn
from transformers.activations import ACT2FN
from transformers.models.blip_2.configuration_blip_2 import Blip2QFormerConfig
from transformers.models.blip_2.modeling_blip_2 import Blip2QFormerModel

from omnikit.contracts.types import Features
from omnikit_hf_models.config import HFProjector, number


class PixelShuffleProjector(nn.Module):
    """InternVL's: squares of patches joined, norm, Linear, activation, Linear."""

    def __init__(self, config: HFProjector, source: int, dim: int) -> None:
        super().__init__()
        self.side = config.side
        wide = source * self.side**2
        self.layer_norm = nn.LayerNorm(wide)
        self.linear_1, self.linear_2 = nn.Linear(wide, dim), nn.Linear(dim, dim)
        self.act: nn.Module = ACT2FN[str(config.config["projector_hidden_act"])]

    def forward(self, features: Features) -> Features:
        data = self.linear_2(self.act(self.linear_1(self.layer_norm(squares(features.data, self.side)))))
        return Features(data, torch.full_like(features.lengths, data.shape[1]))


class SquaresProjector(nn.Module):
    """Idefics3's: squares of patches joined, and a Linear without bias."""

    def __init__(self, config: HFProjector, source: int, dim: int) -> None:
        super().__init__()
        self.side = config.side
        self.proj = nn.Linear(source * self.side**2, dim, bias=False)

    def forward(self, features: Features) -> Features:
        data = self.proj(squares(features.data, self.side))
        return Features(data, torch.full_like(features.lengths, data.shape[1]))


def squares(data: Tensor, side: int) -> Tensor:
    """Give patches [B, T, D] of a square as [B, T / side², D * side²]; in a square, row by row."""
    rows, new = len(data), isqrt(data.shape[1]) // side
    grid = data.reshape(rows, new, side, new, side, data.shape[2])
    return grid.permute(0, 1, 3, 2, 4, 5).reshape(rows, new * new, -1)


class QueryProjector(nn.Module):
    """BLIP-2's: learned queries through BERT's layers, which attend to the features, and a Linear."""

    def __init__(self, config: HFProjector, source: int, dim: int) -> None:
        super().__init__()
        keys = config.config["qformer_config"]
        assert isinstance(keys, Mapping), "the importer writes a mapping"
        facts = Blip2QFormerConfig.from_dict({**keys, "encoder_hidden_size": source})
        self.query_tokens = nn.Parameter(0.02 * torch.randn(1, number(config.config, "num_query_tokens"), facts.hidden_size))
        self.qformer = Blip2QFormerModel(facts)
        self.language_projection = nn.Linear(facts.hidden_size, dim)

    def forward(self, features: Features) -> Features:
        data, queries = features.data, self.query_tokens.expand(len(features.data), -1, -1)
        valid = torch.arange(data.shape[1], device=data.device) < features.lengths[:, None]
        found: Tensor = self.qformer(query_embeds=queries, encoder_hidden_states=data,
                                     encoder_attention_mask=valid.long()).last_hidden_state
        projected = self.language_projection(found)
        return Features(projected, torch.full_like(features.lengths, projected.shape[1]))


class StackProjector(nn.Module):
    """Voxtral's: frames [B, T, D] joined, Linear, activation, Linear, no biases; a tail that fills none is dropped."""

    def __init__(self, config: HFProjector, source: int, dim: int) -> None:
        super().__init__()
        self.stack = number(config.config, "stack")
        self.linear_1, self.linear_2 = nn.Linear(self.stack * source, dim, bias=False), nn.Linear(dim, dim, bias=False)
        self.act: nn.Module = ACT2FN[str(config.config["projector_hidden_act"])]

    def forward(self, features: Features) -> Features:
        count = features.data.shape[1] // self.stack
        joined = features.data[:, :count * self.stack].reshape(len(features.data), count, self.linear_1.in_features)
        lengths = torch.div(features.lengths, self.stack, rounding_mode="floor")
        rate = None if features.rate is None else features.rate / self.stack
        return Features(self.linear_2(self.act(self.linear_1(joined))), lengths, rate)


PROJECTORS: dict[str, Callable[[HFProjector, int, int], nn.Module]] = {
    "internvl": PixelShuffleProjector, "idefics3": SquaresProjector, "blip-2": QueryProjector, "voxtral": StackProjector}
