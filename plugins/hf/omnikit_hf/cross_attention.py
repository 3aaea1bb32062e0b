"""Gated cross-attention to media, before some layers of any causal language model of transformers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.cache_utils import DynamicCache

from omnikit.contracts.layout import InputLayout, Memory
from omnikit_hf.cross_attention_config import HFCrossAttention
from omnikit_hf.layers import decoder_layers
from omnikit_hf.model import HFBackbone, State


@dataclass
class CrossState(State):
    """Keys and values so far, and what is attended to beside them."""

    memory: Memory | None = None


@dataclass(frozen=True)
class Visible:
    """What the positions of one forward pass attend to: embeddings [B, M, D], mask [B, L, M]."""

    data: Tensor
    mask: Tensor


class GatedCrossAttention(nn.Module):
    """Attention to media and a feed-forward layer, each added behind a learned gate."""

    def __init__(self, config: HFCrossAttention) -> None:
        super().__init__()
        dim, inner = config.dim, config.cross_heads * config.cross_head_dim
        self.heads, self.ffn_dim = config.cross_heads, config.cross_ffn or 4 * dim
        self.norm = nn.LayerNorm(dim)
        self.query = nn.Linear(dim, inner, bias=False)
        self.key_value = nn.Linear(config.memory_dim or dim, 2 * inner, bias=False)
        self.output = nn.Linear(inner, dim, bias=False)
        self.ffn_norm = nn.LayerNorm(dim)
        self.ffn = nn.Sequential(nn.Linear(dim, self.ffn_dim, bias=False), nn.GELU(),
                                 nn.Linear(self.ffn_dim, dim, bias=False))
        self.gate = nn.Parameter(torch.tensor([config.cross_gate]))
        self.ffn_gate = nn.Parameter(torch.tensor([config.cross_gate]))

    def forward(self, hidden: Tensor, visible: Visible | None) -> Tensor:
        """hidden [B, L, D] to hidden [B, L, D]; a position that nothing is visible from gets no attention."""
        if visible is not None:
            hidden = hidden + self.gate.tanh() * self._attended(self.norm(hidden), visible)
        changed: Tensor = self.ffn(self.ffn_norm(hidden))
        return hidden + self.ffn_gate.tanh() * changed

    def _attended(self, hidden: Tensor, visible: Visible) -> Tensor:
        query, key, value = (each.unflatten(-1, (self.heads, -1)).transpose(1, 2) for each in (
            self.query(hidden), *self.key_value(visible.data.to(self.key_value.weight.dtype)).chunk(2, dim=-1)))
        some = visible.mask.any(-1, keepdim=True)  # [B, L, 1]; a softmax over nothing would be nan
        found = F.scaled_dot_product_attention(query, key, value, attn_mask=(visible.mask | ~some)[:, None])
        output: Tensor = self.output(found.transpose(1, 2).flatten(2))
        return output * some


class CrossAttentionBackbone(HFBackbone):
    """Owns the added layers under `cross`, beside the base model's names."""

    def __init__(self, config: HFCrossAttention, settings: Mapping[str, object] | None = None) -> None:
        super().__init__(config, settings)
        self.latest = config.cross_latest
        self.cross = nn.ModuleList(GatedCrossAttention(config) for _ in range(config.cross_layers))
        self.cross.to(self.model.dtype)
        self._visible: Visible | None = None
        for number, layer in enumerate(decoder_layers(self.model, config.layers)[::config.cross_every]):
            layer.register_forward_pre_hook(partial(self._before, number), with_kwargs=True)

    def forward(self, inputs: Tensor, mask: Tensor, documents: Tensor | None = None, *,
                layout: InputLayout | None = None) -> Tensor:
        """As HFBackbone.forward, of rows padded on the right; positions attend to the layout's memory, too."""
        with self._attending(layout.memory if layout else None, 0, inputs.shape[1]):
            return super().forward(inputs, mask, documents)

    def init_state(self, batch: int, layout: InputLayout | None = None) -> CrossState:
        """Give an empty state with what its rows attend to."""
        return CrossState(DynamicCache(config=self.model.config), memory=layout.memory if layout else None)

    def step(self, inputs: Tensor, mask: Tensor, state: State) -> tuple[Tensor, State]:
        """As HFBackbone.step."""
        assert isinstance(state, CrossState), "init_state gave it"
        with self._attending(state.memory, mask.shape[1] - inputs.shape[1], mask.shape[1]):
            return super().step(inputs, mask, state)

    def init_rows(self, fixed: tuple[int, int] | None = None) -> None:
        """Give no rows: each has its own memory."""

    @contextmanager
    def _attending(self, memory: Memory | None, start: int, end: int) -> Iterator[None]:
        """Let the added layers attend from the positions of a row between two indices."""
        self._visible = None if memory is None else self._view(memory, start, end)
        try:
            yield
        finally:
            self._visible = None

    def _view(self, memory: Memory, start: int, end: int) -> Visible:
        positions = torch.arange(start, end, device=memory.starts.device)
        mask = memory.starts[:, None] <= positions[:, None]  # [B, L, M]
        if self.latest:
            media = memory.media[:, None].expand_as(mask)
            mask = mask & (media == media.masked_fill(~mask, -1).amax(-1, keepdim=True))
        return Visible(memory.data, mask)

    def _before(self, number: int, layer: nn.Module, inputs: tuple[Tensor, ...],
                named: dict[str, object]) -> tuple[tuple[Tensor, ...], dict[str, object]]:
        """Change what a layer takes."""
        first, *rest = inputs
        return (self.cross[number](first, self._visible), *rest), named
