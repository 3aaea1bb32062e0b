"""Second weights of a language model's linear layers, for the positions of media."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from transformers.cache_utils import DynamicCache

from omnikit.contracts.layout import InputLayout
from omnikit_hf.expert_config import HFExpert
from omnikit_hf.layers import decoder_layers
from omnikit_hf.model import HFBackbone, State

KEYS = ("k_proj", "v_proj", "key", "value", "qkv", "c_attn")  # in the names of layers that others attend to


@dataclass
class ExpertState(State):
    """Keys and values so far; `lengths` counts position numbers, `spliced` [B, L] is of prompts that were not read yet."""

    spliced: Tensor | None = None


class ExpertBackbone(HFBackbone):
    """Owns the experts under `expert`, layer by layer, beside the base model's names."""

    def __init__(self, config: HFExpert, settings: Mapping[str, object] | None = None) -> None:
        super().__init__(config, settings)
        self.shared_positions = config.shared_positions
        layers = [_linear_layers(layer) for layer in decoder_layers(self.model, config.layers)]
        self.expert = nn.ModuleList(nn.ModuleDict(deepcopy(linear)) for linear in layers)
        self.unused_parameters = _unread(config.layers - 1, list(layers[-1]))
        self._spliced: Tensor | None = None  # stays behind a forward pass: recomputed activations come this way again
        for number, linear in enumerate(layers):
            for name, module in linear.items():
                module.register_forward_hook(partial(self._behind, number, name))

    def forward(self, inputs: Tensor, mask: Tensor, documents: Tensor | None = None, *,
                layout: InputLayout | None = None) -> Tensor:
        """As HFBackbone.forward; the layout's spliced positions are the experts'."""
        spliced = self._route(layout.spliced & mask if layout else None)
        positions = (self._counted(mask, spliced) - 1).clamp(min=0)
        result = self.model(inputs_embeds=inputs, attention_mask=mask.long(), position_ids=positions, use_cache=False)
        return cast(Tensor, result.last_hidden_state)

    def init_state(self, batch: int, layout: InputLayout | None = None) -> ExpertState:
        """Give an empty state; the first step then takes its rows' prompts as a whole."""
        return ExpertState(DynamicCache(config=self.model.config), spliced=layout.spliced if layout else None)

    def step(self, inputs: Tensor, mask: Tensor, state: State) -> tuple[Tensor, State]:
        """As HFBackbone.step; what follows the prompts is text."""
        assert isinstance(state, ExpertState), "init_state gave it"
        new = mask[:, -inputs.shape[1]:]
        spliced = self._route(None if state.spliced is None else state.spliced[:, :new.shape[1]] & new)
        past = 0 if state.lengths is None else state.lengths
        counted = past + self._counted(new, spliced)  # [B, N]
        state.lengths, state.spliced = counted[:, -1:], None
        result = self.model(inputs_embeds=inputs, attention_mask=mask, position_ids=(counted - 1).clamp(min=0),
                            past_key_values=state.cache, use_cache=True)
        return cast(Tensor, result.last_hidden_state), state

    def init_rows(self, fixed: tuple[int, int] | None = None) -> None:
        """Give no rows: each has media at other positions."""

    def _route(self, spliced: Tensor | None) -> Tensor | None:
        """Let the experts take these positions [B, L] of the next forward pass."""
        self._spliced = spliced
        return spliced

    def _counted(self, mask: Tensor, spliced: Tensor | None) -> Tensor:
        """Give the position numbers up to each position [B, L]; of media in a row the first alone where they share."""
        if spliced is None or not self.shared_positions:
            return mask.cumsum(-1)
        before = torch.cat([torch.zeros_like(spliced[:, :1]), spliced[:, :-1]], dim=1)
        return (mask & ~(spliced & before)).cumsum(-1)

    def _behind(self, number: int, name: str, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """Put the expert's output into a linear layer's [B, L, D], at the positions of media."""
        spliced = self._spliced
        if spliced is None or output.shape[:2] != spliced.shape:
            return output
        changed = cast(nn.ModuleDict, self.expert[number])[name](inputs[0][spliced])
        return output.index_put((spliced,), changed.to(output.dtype))


def _linear_layers(layer: nn.Module) -> dict[str, nn.Module]:
    """Give the linear layers of a decoder layer, by names that a ModuleDict takes."""
    return {name.replace(".", "_"): module for name, module in layer.named_modules() if isinstance(module, nn.Linear)}


def _unread(number: int, names: list[str]) -> tuple[str, ...]:
    """Give the experts of the last layer whose output at positions of media nothing reads: all but those of keys and values."""
    attended = [name for name in names if any(key in name for key in KEYS)]
    return tuple(f"expert.{number}.{name}" for name in names if name not in attended) if attended else ()
