"""Rows that come and go between steps, for transformers' models: their keys and values lie in a RowCache.

Every family whose attention takes a mask that is there already and asks its cache for nothing but `update` is served so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor
from transformers.cache_utils import Cache
from transformers.configuration_utils import PreTrainedConfig
from transformers.modeling_utils import PreTrainedModel

from omnikit.ops.row_cache import RowCache, RowStep
from omnikit_hf.config import PACKED
from omnikit_hf.packed import NAME
from omnikit_hf.recorded_step import RecordedStep


class StepCache(Cache):
    """What a model takes as its cache during one step of some rows."""

    def __init__(self, cache: RowCache, step: RowStep) -> None:
        super().__init__(layers=[])
        self._cache, self._step = cache, step

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *given: object,
               **named: object) -> tuple[Tensor, Tensor]:
        """Put new keys and values; gives all of the rows."""
        return self._cache.extend(layer_idx, key_states, value_states, self._step)


def has_rows(config: PreTrainedConfig) -> bool:
    """Say whether a model can be stepped so: its family was found to be, all its layers look equally far back, and no row's
    length changes the rotary positions of another one, as those of longrope do."""
    kinds = set(getattr(config, "layer_types", None) or ())
    rope = getattr(config, "rope_parameters", None) or {}
    served = config.model_type in PACKED and config._attn_implementation in ("sdpa", "eager", NAME)
    return served and rope.get("rope_type") not in ("longrope", "dynamic") and (len(kinds) <= 1 or window(config) is None)


def window(config: PreTrainedConfig) -> int | None:
    """Give how many positions each layer looks back; None where the whole context is seen."""
    found = getattr(config, "sliding_window", None)
    if set(getattr(config, "layer_types", None) or ()) == {"full_attention"} or found is None:
        return None
    return None if found >= config.max_position_embeddings else int(found)


class ModelRows(RowCache):
    """A model's rows, stepped by it.

    Args:
        model: the base model.
        fixed: rows and positions for which memory is allocated once; then steps of one position are recorded.
    """

    def __init__(self, model: PreTrainedModel, fixed: tuple[int, int] | None = None) -> None:
        super().__init__(fixed)
        self._model = model
        self._recorded: RecordedStep | None = None

    def step(self, inputs: Tensor, rows: Sequence[int]) -> Tensor:
        """New inputs [B, N, D] of some rows, behind what each holds; gives hidden [B, N, D]."""
        if self.fixed and inputs.shape[1] == 1:
            self._recorded = self._recorded or RecordedStep(self._run, self, inputs)
            hidden = self._recorded(inputs, rows)
        else:
            hidden = self._run(inputs, self.begin(rows, inputs.shape[1], inputs.device))
        self.commit(rows, inputs.shape[1])
        return hidden

    def _run(self, inputs: Tensor, step: RowStep) -> Tensor:
        config = self._model.config
        mask = step.mask(window(config))
        if config._attn_implementation == "eager":  # its scores are added to
            mask = torch.zeros(mask.shape, dtype=inputs.dtype, device=mask.device).masked_fill_(
                ~mask, torch.finfo(inputs.dtype).min)
        result = self._model(inputs_embeds=inputs, attention_mask=mask, position_ids=step.positions,
                             past_key_values=StepCache(self, step), use_cache=True)
        return cast(Tensor, result.last_hidden_state)
