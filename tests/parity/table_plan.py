"""A plan whose encoders give stored features and whose backbone is only a table: what stands where can be read off.

Holds nothing of a case or a system.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from omnikit.contracts.specs import FeatureSpec, ImageSpec, SignalSpec, Template
from omnikit.contracts.types import Features, Signal
from omnikit.plan.plan import InputBranch, OutputBranch, Plan
from omnikit.recipe.answers import Evaluate, Generate
from omnikit.recipe.branches import Choice
from omnikit.recipe.recipe import Recipe

RATE, SIDE = 10, 4  # samples that make a vector; side of a tile


@dataclass(frozen=True)
class Giver:
    """An encoder that gives stored vectors, one tensor for each of its signals, whatever the signal."""

    input: SignalSpec
    output: FeatureSpec
    stored: tuple[Tensor, ...]
    image_spec: ImageSpec | None = None

    def length(self, samples: int) -> int:
        return self.output.count or samples // RATE

    def build(self) -> nn.Module:
        return GiverModule(self.stored, self.output.rate)


class GiverModule(nn.Module):
    def __init__(self, stored: Sequence[Tensor], rate: Fraction | None) -> None:
        super().__init__()
        self.stored, self.rate = stored, rate

    def forward(self, signal: Signal) -> Features:
        lengths = torch.tensor([len(rows) for rows in self.stored])
        assert len(signal.lengths) == len(lengths), "as many signals as the original had placeholders"
        return Features(pad_sequence(list(self.stored), batch_first=True), lengths, self.rate)


@dataclass(frozen=True)
class Same:
    """A projector that changes nothing."""

    def output(self, source: FeatureSpec, dim: int) -> FeatureSpec:
        return source

    def length(self, count: int) -> int:
        return count

    def build(self, source: FeatureSpec, dim: int) -> nn.Module:
        return nn.Identity()


@dataclass(frozen=True)
class Table:
    """A backbone of which only the embedding table is there."""

    weight: Tensor
    tokenizer: str
    context: int = 1 << 20
    template: str = ""
    specials: tuple[str, ...] = ()

    @property
    def dim(self) -> int:
        return self.weight.shape[1]

    @property
    def vocabulary(self) -> int:
        return self.weight.shape[0]

    def build(self) -> nn.Module:
        module = nn.Module()
        module.embed = nn.Embedding.from_pretrained(self.weight)
        return module


@dataclass(frozen=True)
class TextHead:
    """The language model's head, as far as a collator looks at it."""

    tap: str = "logits"
    target: str = "tokens"
    alignment: str = "predicts"

    def build(self, *given: object) -> nn.Module:
        return nn.Identity()


def plan_of(template: Template, tokenizer: str, table: Tensor, audios: Sequence[Tensor], tiles: Sequence[Tensor]) -> Plan:
    """Give a plan.

    Args:
        table: [V, D] embeddings.
        audios: the vectors [T, D] of each sound of a batch, in order.
        tiles: the vectors [N, D] of each tile or frame of a batch, in order; all equally many.
    """
    dim, most = table.shape[1], max(1, len(tiles))
    spec = ImageSpec(SIDE, most_tiles=most, thumbnail=False, frame_rate=1.0, least_frames=1, most_frames=most)
    encoders = {"audio": Giver(SignalSpec("audio", Fraction(16000)), FeatureSpec(dim, Fraction(16000, RATE)), tuple(audios)),
                "image": Giver(SignalSpec("image", None, (3, SIDE, SIDE)),
                               FeatureSpec(dim, count=len(tiles[0]) if tiles else 1), tuple(tiles), spec)}
    inputs = {name: InputBranch(name, encoder, encoder.output, Same(), encoder.output) for name, encoder in encoders.items()}
    outputs = {"text": OutputBranch("text", TextHead(), FeatureSpec(len(table), count=1), None, None, len(table))}
    recipe = Recipe("made_up", {}, Choice("table", {}), template=None, system=None, data={}, stages={}, generate=Generate(),
                    evaluate=Evaluate(), seed=0, run=None)
    return Plan(recipe, inputs, outputs, Table(table, tokenizer), template, tokenizer, {}, {})
