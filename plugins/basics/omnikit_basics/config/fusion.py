"""The settings and contracts of projectors that take the features of several encoders. Imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from omnikit.contracts.footprint import Footprint
from omnikit.contracts.specs import FeatureSpec
from omnikit_basics import footprints
from omnikit_basics.config.limits import at_least
from omnikit_basics.config.projectors import MOST_LAYERS, Activation

if TYPE_CHECKING:
    from omnikit_basics.fusion import ConcatProjector, SequenceProjector, SumProjector


@dataclass(frozen=True)
class ConcatMlp:
    """A Linear for each encoder's features, joined channel by channel, and Linears behind them.

    Of features at one rate the shorter sequence counts. Source: DeepSeek-VL, arXiv:2403.05525 (two towers, half the width each,
    GELU, one Linear); with `depth: 0` Vary, arXiv:2312.06109.

    Args:
        hidden: width to which each encoder's features are projected; 0: an equal share of the backbone's.
        depth: Linears behind the join, each behind an activation; 0: none, the joined vectors are as wide as the backbone.
    """

    hidden: int = 0
    depth: int = 1
    activation: Activation = "gelu"

    def __post_init__(self) -> None:
        at_least(0, hidden=self.hidden)
        if not 0 <= self.depth <= MOST_LAYERS:
            raise ValueError(f"depth is {self.depth}, but must be 0 to {MOST_LAYERS}")

    def width(self, sources: int, dim: int) -> int:
        """Give the width of each encoder's projected features."""
        return self.hidden or dim // sources

    def fused_output(self, sources: Sequence[FeatureSpec], dim: int) -> FeatureSpec:
        joined = self.width(len(sources), dim) * len(sources)
        if not self.depth and joined != dim:
            raise ValueError(f"{len(sources)} encoders of {self.width(len(sources), dim)} channels each make {joined}, but the"
                             f" backbone takes {dim} and depth is 0; set depth=1")
        return beside(sources, dim)

    def fused_length(self, counts: Sequence[int]) -> int:
        return min(counts)

    def fused_footprint(self, sources: Sequence[FeatureSpec], dim: int) -> Footprint:
        width = self.width(len(sources), dim)
        behind = (width * len(sources), *[dim] * self.depth)
        return footprints.fused([source.dim for source in sources], width, behind)

    def build_fused(self, sources: Sequence[FeatureSpec], dim: int) -> "ConcatProjector":
        from omnikit_basics.fusion import ConcatProjector

        return ConcatProjector(self, [source.dim for source in sources], dim)


@dataclass(frozen=True)
class WeightedSum:
    """A Linear for each encoder's features, and their sum with learned weights, which begin equal and sum to 1."""

    def fused_output(self, sources: Sequence[FeatureSpec], dim: int) -> FeatureSpec:
        return beside(sources, dim)

    def fused_length(self, counts: Sequence[int]) -> int:
        return min(counts)

    def fused_footprint(self, sources: Sequence[FeatureSpec], dim: int) -> Footprint:
        return footprints.fused([source.dim for source in sources], dim, (dim,), weights=len(sources))

    def build_fused(self, sources: Sequence[FeatureSpec], dim: int) -> "SumProjector":
        from omnikit_basics.fusion import SumProjector

        return SumProjector([source.dim for source in sources], dim)


@dataclass(frozen=True)
class ConcatSequence:
    """A Linear for each encoder's features, one encoder's vectors behind those of another."""

    def fused_output(self, sources: Sequence[FeatureSpec], dim: int) -> FeatureSpec:
        lookahead = max(source.lookahead for source in sources)
        rates, counts = ([getattr(source, name) for source in sources] for name in ("rate", "count"))
        if None not in counts:
            return FeatureSpec(dim, count=sum(counts), lookahead=lookahead)
        if None in rates:
            raise ValueError(f"it takes encoders that all have a rate or all have a count, but they give {_listed(sources)}")
        return FeatureSpec(dim, rate=sum(rates), lookahead=float("inf"))  # the second encoder's come behind all of the first's

    def fused_length(self, counts: Sequence[int]) -> int:
        return sum(counts)

    def fused_footprint(self, sources: Sequence[FeatureSpec], dim: int) -> Footprint:
        return footprints.fused([source.dim for source in sources], dim, (dim,))

    def build_fused(self, sources: Sequence[FeatureSpec], dim: int) -> "SequenceProjector":
        from omnikit_basics.fusion import SequenceProjector

        return SequenceProjector([source.dim for source in sources], dim)


def beside(sources: Sequence[FeatureSpec], dim: int) -> FeatureSpec:
    """Give what vectors make that are joined one beside another; raises ValueError where they do not lie alike."""
    if len({(source.rate, source.count) for source in sources}) > 1:
        raise ValueError(f"it joins features vector by vector, but they give {_listed(sources)}; choose encoders of one rate or"
                         " count, or projector=concat_sequence")
    return FeatureSpec(dim, sources[0].rate, sources[0].count, max(source.lookahead for source in sources))


def _listed(sources: Sequence[FeatureSpec]) -> str:
    return " and ".join(str(source) for source in sources)
