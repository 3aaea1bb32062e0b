"""Learned prompts: vectors that stand where a row brings a part of type "prompt". Imports no torch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from omnikit.contracts.footprint import Footprint
from omnikit.contracts.specs import FeatureSpec, SignalSpec

if TYPE_CHECKING:
    from omnikit_basics.prompt_vectors import PlaceEncoder, PromptProjector


@dataclass(frozen=True)
class Prompt:
    """The place of learned prompts: takes no signal and gives one empty vector, which prompt_embeddings replaces."""

    input = SignalSpec("prompt")

    @property
    def output(self) -> FeatureSpec:
        return FeatureSpec(1, count=1)

    def length(self, samples: int) -> int:
        return 1

    def footprint(self) -> Footprint:
        return Footprint(0)

    def build(self) -> "PlaceEncoder":
        from omnikit_basics.prompt_vectors import PlaceEncoder

        return PlaceEncoder()


@dataclass(frozen=True)
class PromptEmbeddings:
    """Learned vectors, the same for every row: prompts that mark a task. Source: VITA-1.5's `prompt_embeddings`.

    Args:
        count: vectors; VITA's code has 25.
    """

    count: int = 25

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"count is {self.count}, but must be at least 1")

    def output(self, source: FeatureSpec, dim: int) -> FeatureSpec:
        if source.count != 1:
            raise ValueError(f"prompt_embeddings stands for a prompt, but the encoder gives vectors {source};"
                             " take the encoder `prompt`")
        return FeatureSpec(dim, count=self.count)

    def length(self, count: int) -> int:
        return self.count

    def footprint(self, source: FeatureSpec, dim: int) -> Footprint:
        return Footprint(self.count * dim)

    def build(self, source: FeatureSpec, dim: int) -> "PromptProjector":
        from omnikit_basics.prompt_vectors import PromptProjector

        return PromptProjector(self.count, dim)
