"""A causal language model of transformers as embed → hidden → logits. Independent of training or of what ids mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.cache_utils import DynamicCache
from transformers.modeling_utils import PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING, AutoConfig

from omnikit.errors import ConfigError, nearest
from omnikit.ops.empty import loads_weights
from omnikit_hf import weights
from omnikit_hf.config import HF, MASKED
from omnikit_hf.packed import NAME, PackedLengths
from omnikit_hf.row_steps import ModelRows, has_rows

FACTORS = {"logit_scale": 1, "logits_scaling": -1}  # of the logits, by their names in a config.json: multiplied or divided by
SOFTCAP = "final_logit_softcapping"  # the logits stay between minus and plus this


@dataclass
class State:
    """Keys and values so far; `lengths` [B, 1] counts the valid tokens, `plain`: none of them is padding."""

    cache: DynamicCache
    lengths: Tensor | None = None
    plain: bool = False


class HFBackbone(nn.Module):
    """Owns the base model under `model` and the output matrix under `lm_head`, so names equal the public checkpoints'.

    Logits are computed only where they are asked for: the base model alone runs in `forward`.

    Args:
        settings: what the config.json of its checkpoint holds, for a module that is built without it.
    """

    def __init__(self, config: HF, settings: Mapping[str, object] | None = None) -> None:
        super().__init__()
        loaded = bool(config.weights) and loads_weights()
        causal = _checked(weights.load(config) if loaded else _fresh(config, settings), config)
        self.settings = weights.settings_of(causal) if loaded else dict(settings or {})
        self.model = cast(PreTrainedModel, causal.base_model)
        self.lm_head: nn.Module | None = None if config.tie_embeddings else causal.get_output_embeddings()  # type: ignore[no-untyped-call]  # transformers has none here
        table = self.model.get_input_embeddings()  # type: ignore[no-untyped-call]  # transformers has none here
        tied = [name for name, module in self.named_modules() if module is table and config.tie_embeddings]
        self.direct_weights = tuple(tied)  # it is the output matrix too
        self.factor, self.softcap = _after_logits(causal)

    def embed(self, tokens: Tensor) -> Tensor:
        """tokens [B, L] to vectors [B, L, D]."""
        return cast(Tensor, self.model.get_input_embeddings()(tokens))

    def forward(self, inputs: Tensor, mask: Tensor, documents: Tensor | None = None) -> Tensor:
        """inputs [B, L, D] and mask [B, L] bool to hidden [B, L, D] after the final norm, undefined where not valid.

        Positions count valid tokens, so padding may stand on either side. With `documents` [B, L], the number of the
        conversation that each position belongs to (0: padding, on the right), a conversation attends to itself only
        and its positions begin at 0.
        """
        if documents is not None:
            return self._packed(inputs, documents)
        result = self.model(inputs_embeds=inputs, attention_mask=mask.long(), position_ids=_positions(mask),
                            use_cache=False)
        return cast(Tensor, result.last_hidden_state)

    def _packed(self, inputs: Tensor, documents: Tensor) -> Tensor:
        """Run the conversations of all rows one behind another, without the padding; `documents` are on the host.

        With flash attention and eager, and where a layer's window is shorter than a conversation, transformers isolates what
        stands between two positions that do not count on; of the families that the configuration lets through it is so.
        """
        numbers = np.array(documents.tolist())  # [B, L]
        inside = np.flatnonzero(numbers)  # [S]
        rows = numbers.shape[1] * np.arange(1, 1 + len(numbers))[:, None]
        lengths: list[int] = np.unique((numbers + rows).ravel()[inside], return_counts=True)[1].tolist()
        counted = np.concatenate([np.arange(length) for length in lengths])[None]  # [1, S]
        valid, positions = (torch.from_numpy(indices).to(inputs.device, non_blocking=True) for indices in (inside, counted))
        hidden = self._by_conversation(inputs.flatten(0, 1)[valid][None], positions, lengths)  # [1, S, D]
        return hidden.new_zeros(inputs.shape).flatten(0, 1).index_copy(0, valid, hidden[0]).view(inputs.shape)

    def _by_conversation(self, inputs: Tensor, positions: Tensor, lengths: list[int]) -> Tensor:
        config = self.model.config
        window = getattr(config, "sliding_window", None) or max(lengths)
        ours = config._attn_implementation in ("sdpa", NAME) and config.model_type not in MASKED
        if not ours or window < max(lengths):
            result = self.model(inputs_embeds=inputs, attention_mask=None, position_ids=positions, use_cache=False)
            return cast(Tensor, result.last_hidden_state)
        config._attn_implementation = NAME  # for good: recomputed activations come this way again
        packed = PackedLengths(lengths)
        unread = inputs.new_zeros(1, 1, 1, 1)  # a mask that is there already, so that transformers makes none
        result = self.model(inputs_embeds=inputs, attention_mask=unread, position_ids=positions, use_cache=False,
                            packed=packed)
        assert packed.used, f"{config.model_type} does not pass on where conversations end, but config.PACKED names it"
        return cast(Tensor, result.last_hidden_state)

    def logits(self, hidden: Tensor) -> Tensor:
        """hidden [..., D] to logits [..., V]."""
        head = self.lm_head
        logits = (F.linear(hidden, cast(Tensor, self.model.get_input_embeddings().weight)) if head is None
                  else cast(Tensor, head(hidden)))
        logits = logits if self.factor == 1.0 else logits * self.factor
        return logits if self.softcap is None else torch.tanh(logits / self.softcap) * self.softcap

    def init_state(self, batch: int) -> State:
        """Give an empty state; it takes its batch size from the first step."""
        return State(DynamicCache(config=self.model.config))

    def step(self, inputs: Tensor, mask: Tensor, state: State) -> tuple[Tensor, State]:
        """inputs [B, N, D] after what `state` holds, mask [B, past + N]; gives hidden [B, N, D]. Changes `state`.

        A batch of one row without padding needs no mask: that is asked once, since the answer waits for the accelerator.
        """
        new = mask[:, -inputs.shape[1]:]
        if state.lengths is None:
            state.plain = len(mask) == 1 and bool(mask.all())
            state.lengths = torch.zeros(len(mask), 1, dtype=torch.int64, device=mask.device)
        counted = state.lengths + new.cumsum(-1)  # valid tokens up to each new one, [B, N]
        state.lengths = counted[:, -1:]
        result = self.model(inputs_embeds=inputs, attention_mask=None if state.plain else mask,
                            position_ids=(counted - 1).clamp(min=0), past_key_values=state.cache, use_cache=True)
        return cast(Tensor, result.last_hidden_state), state

    def init_rows(self, fixed: tuple[int, int] | None = None) -> ModelRows | None:
        """Give rows that come and go, without any in it; None where the model's family cannot have them.

        With `fixed` rows and positions memory is allocated once, and on a GPU a step of one position is a CUDA graph.
        """
        return ModelRows(self.model, fixed) if has_rows(self.model.config) else None


def _positions(mask: Tensor) -> Tensor:
    """Number the valid tokens of each row from 0; padding in front gets 0."""
    return (mask.long().cumsum(-1) - 1).clamp(min=0)  # [B, L]


def _fresh(config: HF, settings: Mapping[str, object] | None = None) -> PreTrainedModel:
    """Build by our fields, or by the settings that a checkpoint came with."""
    known = sorted(CONFIG_MAPPING.keys())
    if config.model_type not in known:
        raise ConfigError(f"backbone.model_type {config.model_type!r} is not known to transformers."
                          f"{nearest(config.model_type, known)}")
    facts = CONFIG_MAPPING[config.model_type].from_dict(dict(settings)) if settings else AutoConfig.for_model(
        config.model_type, **_arguments(config))
    try:
        return weights.model_of(config, facts)
    except (ValueError, ImportError) as error:
        raise ConfigError(f"backbone.model_type {config.model_type!r} cannot be built by transformers with attention"
                          f" {config.attention!r}: {' '.join(str(error).split())}") from error


def _after_logits(model: PreTrainedModel) -> tuple[float, float | None]:
    """Give what an architecture multiplies its logits by, and what it bounds them with."""
    factor = 1.0
    for name, power in FACTORS.items():
        factor *= float(getattr(model.config, name, None) or 1.0) ** power
    softcap = getattr(model.config, SOFTCAP, None)
    return factor, float(softcap) if softcap else None


def _checked(model: PreTrainedModel, config: HF) -> PreTrainedModel:
    output = model.get_output_embeddings()  # type: ignore[no-untyped-call]  # transformers has none here
    if model.base_model is model or output is None:
        raise ConfigError(f"backbone.model_type {config.model_type!r} has no base model and output matrix to cut"
                          f" between; choose another model.")
    return model


def _arguments(config: HF) -> dict[str, object]:
    """Give transformers' names for our fields; an architecture ignores those that it does not have."""
    rope: dict[str, object] = {"rope_type": "default", "rope_theta": config.rope_theta}
    if config.rope_factor is not None:
        rope |= {"rope_type": "llama3", "factor": config.rope_factor, "low_freq_factor": config.rope_low,
                 "high_freq_factor": config.rope_high, "original_max_position_embeddings": config.rope_original}
    sizes: dict[str, object] = {theirs: getattr(config, ours) for ours, theirs in weights.NAMES.items()}
    if config.head_dim is not None:
        sizes["head_dim"] = config.head_dim
    if config.experts:
        sizes |= {"num_local_experts": config.experts, "num_experts_per_tok": config.experts_per_token}
    return sizes | {"max_position_embeddings": config.context, "rms_norm_eps": config.rms_eps, "rope_parameters": rope,
                    "bos_token_id": None, "eos_token_id": None, "pad_token_id": None} | config.config_keys
