"""The plan: contracts wired together, every dimension filled in, every mismatch reported at once. No torch, no files.

    encoder → projector → backbone → head → codec, and for each stage what is trained, on what, from which weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from omnikit.protocols import BackboneConfig, CodecConfig, EncoderConfig, HeadConfig, ProjectorConfig, ReaderConfig
from omnikit.recipe import Recipe, Stage
from omnikit.specs import CodecSpec, FeatureSpec, Template


@dataclass(frozen=True)
class Inlet:
    """One input branch, wired. `projector` and `projected` are None for a branch that no backbone reads."""

    name: str
    encoder: EncoderConfig
    encoded: FeatureSpec
    projector: ProjectorConfig | None
    projected: FeatureSpec | None

    def length(self, samples: int) -> int:
        """Give the exact number of backbone positions for a signal of `samples` samples."""
        count = self.encoder.length(samples)
        return self.projector.length(count) if self.projector else count


@dataclass(frozen=True)
class Outlet:
    """One output branch, wired: the head reads `source` and emits the codec's codes or `vocabulary` tokens."""

    name: str
    head: HeadConfig
    source: FeatureSpec
    codec: CodecConfig | None
    codes: CodecSpec | None
    vocabulary: int


@dataclass(frozen=True)
class StagePlan:
    """One stage, checked. Part names are dotted paths: audio.encoder, audio.projector, backbone, speech.head, speech.codec.

    Args:
        trained: parts that this stage changes; all others are frozen.
        used: parts that this stage runs at all; the rest need not be in memory.
        origins: part → the stage whose weights it starts from; a part that no earlier stage trained is absent (fresh).
        datasets: names of the datasets it draws from.
    """

    name: str
    stage: Stage
    trained: tuple[str, ...]
    used: tuple[str, ...]
    origins: dict[str, str]
    datasets: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """A checked recipe; whatever is built, is built from here."""

    recipe: Recipe
    inputs: dict[str, Inlet]
    outputs: dict[str, Outlet]
    backbone: BackboneConfig | None
    template: Template | None
    tokenizer: str | None
    readers: dict[str, ReaderConfig]
    stages: dict[str, StagePlan]

    def parts(self) -> dict[str, Any]:
        """Give part name → its dataclass, in wiring order; a part without parameters is among them."""
        found: dict[str, Any] = {}
        for name, inlet in self.inputs.items():
            found[f"{name}.encoder"] = inlet.encoder
            if inlet.projector:
                found[f"{name}.projector"] = inlet.projector
        if self.backbone:
            found["backbone"] = self.backbone
        for name, outlet in self.outputs.items():
            found[f"{name}.head"] = outlet.head
            if outlet.codec:
                found[f"{name}.codec"] = outlet.codec
        return found
