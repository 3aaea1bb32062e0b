"""A causal language model of transformers that attends to its prompts both ways."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from omnikit.contracts.layout import InputLayout
from omnikit_hf.model import HFBackbone, State, _positions


class PrefixBackbone(HFBackbone):
    """As HFBackbone, with a mask of its own for each position: causal, and both ways inside the prompt."""

    def forward(self, inputs: Tensor, mask: Tensor, documents: Tensor | None = None, *,
                layout: InputLayout | None = None) -> Tensor:
        """inputs [B, L, D] and mask [B, L], rows padded on the right, to hidden [B, L, D]."""
        assert layout is not None, "its configuration takes a layout"
        indices = torch.arange(inputs.shape[1], device=inputs.device)
        prompt = indices < layout.prompts[:, None]  # [B, L]
        seen = (indices <= indices[:, None]) | (prompt[:, None] & prompt[:, :, None])  # [B, L, L], by position
        result = self.model(inputs_embeds=inputs, attention_mask=_added(seen & mask[:, None], inputs.dtype),
                            position_ids=_positions(mask), use_cache=False)
        return cast(Tensor, result.last_hidden_state)

    def init_state(self, batch: int, layout: InputLayout | None = None) -> State:
        """Give an empty state; the first step then takes the prompts as a whole."""
        return State(DynamicCache(config=self.model.config))

    def step(self, inputs: Tensor, mask: Tensor, state: State) -> tuple[Tensor, State]:
        """As HFBackbone.step; positions of the first step attend to all of it."""
        if state.lengths is not None:
            return super().step(inputs, mask, state)
        state.lengths = mask.sum(1, keepdim=True)
        seen = mask[:, None].expand(-1, mask.shape[1], -1)
        result = self.model(inputs_embeds=inputs, attention_mask=_added(seen, inputs.dtype), position_ids=_positions(mask),
                            past_key_values=state.cache, use_cache=True)
        return cast(Tensor, result.last_hidden_state), state

    def init_rows(self, fixed: tuple[int, int] | None = None) -> None:
        """Give no rows: a prompt is read as a whole."""


def _added(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """Give what is added to scores [B, 1, L, L] of queries that may attend to keys `seen` [B, L, L].

    A position of padding that may attend to nothing attends to everything: its states are undefined, but not NaN.
    """
    allowed = seen | ~seen.any(-1, keepdim=True)
    return torch.zeros_like(allowed, dtype=dtype).masked_fill(~allowed, torch.finfo(dtype).min)[:, None]
