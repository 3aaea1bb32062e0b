"""Backbone `hf_cross_attention`: a language model whose layers also attend to media. Uses no torch; `build` imports it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from omnikit.contracts.footprint import Footprint, Saved
from omnikit_hf.config import HF

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn


@dataclass(frozen=True)
class HFCrossAttention(HF):
    """Any AutoModelForCausalLM of transformers with gated cross-attention to media before some of its layers.

    A branch with `fusion: cross_attention` takes no positions: the layers attend to its embeddings. Source: Flamingo,
    arXiv:2204.14198 (sizes of the added layers: OpenFlamingo, arXiv:2308.01390).

    Args:
        cross_every: an added layer stands before each so many layers, the first one included.
        cross_heads: heads of the added attention.
        cross_head_dim: width of each.
        cross_ffn: width inside the added feed-forward layers; 0: four times `dim`.
        cross_latest: a position attends to the last medium before it alone, as in Flamingo; false: to all before it.
        cross_gate: first value of the gates, behind a tanh: 0 leaves the language model as it was.
        memory_dim: width of the embeddings that are attended to; None: `dim`.
    """

    cross_every: int = 1
    cross_heads: int = 8
    cross_head_dim: int = 64
    cross_ffn: int = 0
    cross_latest: bool = True
    cross_gate: float = 0.0
    memory_dim: int | None = None

    fusions = ("splice", "cross_attention")
    takes_layout = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("cross_every", "cross_heads", "cross_head_dim"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, but must be at least 1")
        if self.cross_ffn < 0 or (self.memory_dim is not None and self.memory_dim < 1):
            raise ValueError(f"cross_ffn is {self.cross_ffn} and memory_dim {self.memory_dim}, but cross_ffn must be at least 0"
                             " and memory_dim at least 1")
        if self.cross_every > self.layers:
            raise ValueError(f"cross_every is {self.cross_every}, but there are {self.layers} layers; set it to at most that")

    @property
    def packs(self) -> bool:
        """Its module takes no `documents`: media of other conversations would be attended to."""
        return False

    @property
    def cross_layers(self) -> int:
        """Added layers."""
        return -(-self.layers // self.cross_every)

    def footprint(self) -> Footprint:
        found, inner = super().footprint(), self.cross_heads * self.cross_head_dim
        ffn, memory = self.cross_ffn or 4 * self.dim, self.memory_dim or self.dim
        added = 2 * self.dim * inner + 2 * memory * inner + 2 * self.dim * ffn + 4 * self.dim + 2
        saved = Saved(found.outside.wide + self.cross_layers * 4 * self.dim,
                      found.outside.narrow + self.cross_layers * (3 * inner + 2 * ffn))
        return replace(found, parameters=found.parameters + self.cross_layers * added, outside=saved)

    def build(self) -> nn.Module:
        from omnikit_hf.cross_attention import CrossAttentionBackbone

        return CrossAttentionBackbone(self)

    def build_from(self, settings: Mapping[str, object]) -> nn.Module:
        from omnikit_hf.cross_attention import CrossAttentionBackbone

        return CrossAttentionBackbone(self, settings)
