"""Backbone `hf_expert`: a language model with weights of its own for positions of media. Uses no torch; `build` imports it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from omnikit_hf.config import BIASED, HF, PLAIN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from omnikit.contracts.footprint import Footprint


@dataclass(frozen=True)
class HFExpert(HF):
    """Any dense AutoModelForCausalLM of transformers whose linear layers have second weights for positions of media.

    Attention goes over all positions; queries, keys, values, outputs and feed-forward layers at positions of media are those
    of the expert. Experts begin as copies of the language model's weights and are `expert.*` in a stage's `train`. Source:
    CogVLM, arXiv:2311.03079. Adapters on the language model's layers count at positions of media, too.

    Args:
        shared_positions: media that stand in a row, without text between, have one position number together, as in CogVLM.
    """

    shared_positions: bool = True

    takes_layout = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.experts:
            raise ValueError(f"experts is {self.experts}, but hf_expert has experts by position; set experts=0 with a dense"
                             " model_type")

    @property
    def packs(self) -> bool:
        """Its module takes no `documents`."""
        return False

    def footprint(self) -> Footprint:
        found, head = super().footprint(), self.head_dim or self.dim // self.heads
        kv, query = head * self.kv_heads, head * self.heads
        layer = 2 * self.dim * (query + kv) + 3 * self.dim * self.ffn + (query + 2 * kv) * (self.model_type in BIASED)
        if self.model_type in PLAIN:
            layer = 4 * self.dim * (self.dim + 1) + 2 * self.dim * self.ffn + self.ffn + self.dim
        return replace(found, parameters=found.parameters + self.layers * layer)

    def build(self) -> nn.Module:
        from omnikit_hf.expert import ExpertBackbone

        return ExpertBackbone(self)

    def build_from(self, settings: Mapping[str, object]) -> nn.Module:
        from omnikit_hf.expert import ExpertBackbone

        return ExpertBackbone(self, settings)
