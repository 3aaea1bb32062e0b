"""Backbone `hf_prefix`: a language model whose prompts are attended to both ways. Uses no torch; `build` imports it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from omnikit_hf.config import HF

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn


@dataclass(frozen=True)
class HFPrefix(HF):
    """Any AutoModelForCausalLM of transformers under a prefix mask: a position of the prompt attends to the whole prompt.

    The prompt is all that stands before a row's first answer, embeddings of media among it; behind it attention is causal, in
    later turns too. Source: PaliGemma, arXiv:2407.07726 (its masks in transformers); T5's prefix language model,
    arXiv:1910.10683.
    """

    takes_layout = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.attention not in ("sdpa", "eager"):
            raise ValueError(f"attention is {self.attention}, but must be sdpa or eager, which take a mask for each position")

    @property
    def packs(self) -> bool:
        """Its module takes no `documents`: prompts of other conversations would be attended to."""
        return False

    def build(self) -> nn.Module:
        from omnikit_hf.prefix import PrefixBackbone

        return PrefixBackbone(self)

    def build_from(self, settings: Mapping[str, object]) -> nn.Module:
        from omnikit_hf.prefix import PrefixBackbone

        return PrefixBackbone(self, settings)
