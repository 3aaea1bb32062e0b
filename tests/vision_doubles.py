"""The doubles of doubles.py with an image encoder: tiles of 8 x 8 pixels, four features for each."""

from dataclasses import dataclass, field, replace

import numpy as np
from doubles import RATE, FakeBackbone, make_plan, speak
from numpy.typing import NDArray
from torch import Tensor, nn

from omnikit.contracts.specs import FeatureSpec, ImageSpec, SignalSpec
from omnikit.contracts.types import ContentPart, Features, Message, Sample, Signal
from omnikit.plan.plan import InputBranch, Plan

SIDE = 8
SPEC = ImageSpec(SIDE, most_tiles=4, least_frames=2, most_frames=3)


@dataclass(frozen=True)
class FakeImageEncoder:
    """A feature for each quarter of a tile: its mean colour, through a Linear."""

    image_spec: ImageSpec = field(default=SPEC)
    dim: int = 12

    input = SignalSpec("image", None, (3, SIDE, SIDE))

    @property
    def output(self) -> FeatureSpec:
        return FeatureSpec(self.dim, count=4)

    def length(self, items: int) -> int:
        return 4 * items

    def build(self) -> nn.Module:
        return FakeImageEncoderModule(self.dim)


@dataclass(frozen=True)
class FakeImageProjector:
    def output(self, source: FeatureSpec, dim: int) -> FeatureSpec:
        return FeatureSpec(dim, source.rate, source.count)

    def length(self, count: int) -> int:
        return count

    def build(self, source: FeatureSpec, dim: int) -> nn.Module:
        return FakeImageProjectorModule(source.dim, dim)


class FakeImageEncoderModule(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(3, dim)

    def forward(self, signal: Signal) -> Features:
        quarters = nn.functional.adaptive_avg_pool2d(signal.data, 2).flatten(2).transpose(1, 2)  # [T, 4, 3]
        return Features(self.linear(quarters), signal.lengths * 4)


class FakeImageProjectorModule(nn.Module):
    def __init__(self, source: int, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(source, dim)

    def forward(self, features: Features) -> Features:
        data: Tensor = self.linear(features.data)
        return Features(data, features.lengths, features.rate)


def make_vision_plan(tokenizer: str, spec: ImageSpec = SPEC) -> Plan:
    """Give the plan of the doubles with a branch `vision`."""
    plan, encoder = make_plan(tokenizer), FakeImageEncoder(spec)
    vision = InputBranch("vision", encoder, encoder.output, FakeImageProjector(),
                         FakeImageProjector().output(encoder.output, FakeBackbone(tokenizer).dim))
    return replace(plan, inputs={**plan.inputs, "vision": vision})


def image(width: int = 8, height: int = 8, seed: int = 0) -> NDArray[np.uint8]:
    """Give random pixels."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def make_row(*parts: ContentPart, answer: str = "two", name: str = "r") -> Sample:
    """Give a row that make_row with parts."""
    return Sample(name, (Message("user", parts), Message("assistant", (ContentPart("text", text=answer),))))


def spoken_question(text: str = "one") -> ContentPart:
    """Give a spoken question."""
    return ContentPart("audio", text=text, audio=speak(text), sample_rate=RATE)
