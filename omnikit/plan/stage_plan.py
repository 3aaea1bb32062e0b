"""One stage, checked, and what stages are checked against. Uses no check."""

from __future__ import annotations

from dataclasses import dataclass, field

from omnikit.contracts.configs import BackboneConfig, ReaderConfig
from omnikit.plan.branches import InputBranch, OutputBranch
from omnikit.plan.tuning import Tuning
from omnikit.recipe.recipe import Stage


@dataclass(frozen=True)
class StagePlan:
    """One stage, checked. Part names are dotted paths: audio.encoder, audio.projector, backbone, speech.head, speech.codec.

    Args:
        trained: parts that this stage changes; all others are frozen.
        used: parts that this stage runs at all; the rest need not be in memory.
        origins: part → the stage whose weights it starts from; a part that no earlier stage trained is absent (fresh).
        datasets: names of the datasets it draws from.
        holders: part → the stage that holds its weights after this one, through `after` and `init_from`, for all parts that any
            of these trained.
        table: of the backbone it uses the embedding table alone.
        tuning: trained part → what of it is trained, for parts that are not trained as a whole.
    """

    name: str
    stage: Stage
    trained: tuple[str, ...]
    used: tuple[str, ...]
    origins: dict[str, str]
    datasets: tuple[str, ...]
    table: bool = False
    holders: dict[str, str] = field(default_factory=dict)
    tuning: dict[str, Tuning] = field(default_factory=dict)

    @property
    def held_out(self) -> tuple[str, ...]:
        """The datasets that it is validated on."""
        return self.stage.validate.datasets

    @property
    def is_decided_by_rows(self) -> bool:
        """Whether held-out rows decide which weights it gives."""
        return self.stage.validate.decides

    @property
    def trains(self) -> str:
        """What it trains, in words."""
        return ", ".join(f"{part} ({self.tuning[part]})" if part in self.tuning else part for part in self.trained)


@dataclass(frozen=True)
class Wiring:
    """What stages are checked against."""

    inputs: dict[str, InputBranch]
    outputs: dict[str, OutputBranch]
    backbone: BackboneConfig | None
    readers: dict[str, ReaderConfig]
    parts: tuple[str, ...]
