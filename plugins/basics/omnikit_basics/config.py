"""The settings and contracts of the basic projectors, text heads and the JSONL reader. Imports no torch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from omnikit.contracts.footprint import Footprint
from omnikit.contracts.specs import LATER, CodecSpec, FeatureSpec
from omnikit_basics import footprints

if TYPE_CHECKING:
    from omnikit.contracts.types import Targets
    from omnikit_basics.heads import CaptionWordsHead, CtcTextHead, LmHead, StateHead
    from omnikit_basics.projectors import PointwiseProjector, StackProjector, StridedConvProjector
    from omnikit_basics.qformer import QFormerProjector
    from omnikit_basics.reader import JsonlReader

Activation = Literal["gelu", "relu", "silu"]
PROVIDES = ("text", "audio", "image", "video", "prompt", "transcript", "caption", "answer", "speech",
            "codes")  # of ReaderConfig


# ---- projectors ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Linear:
    """One Linear for each vector; nothing to set."""

    def output(self, source: FeatureSpec, dim: int) -> FeatureSpec:
        return FeatureSpec(dim, source.rate, source.count, source.lookahead)

    def length(self, count: int) -> int:
        return count

    def footprint(self, source: FeatureSpec, dim: int) -> Footprint:
        return footprints.pointwise((source.dim, dim))

    def build(self, source: FeatureSpec, dim: int) -> "PointwiseProjector":
        from omnikit_basics.projectors import PointwiseProjector

        return PointwiseProjector((source.dim, dim))


@dataclass(frozen=True)
class Mlp:
    """Several Linears with activations between them, for each vector alone.

    Args:
        hidden: width between two Linears; 0: as wide as the backbone.
        depth: how many Linears, at least 2.
        norm: LayerNorm before the first Linear, as InternVL has it and VITA has not.
    """

    hidden: int = 256
    depth: int = 2
    activation: Activation = "gelu"
    norm: bool = field(default=False, metadata=LATER)

    def __post_init__(self) -> None:
        _at_least(0, hidden=self.hidden)
        if self.depth < 2:
            raise ValueError(f"depth is {self.depth}, but must be at least 2; for a single Linear use linear")

    def output(self, source: FeatureSpec, dim: int) -> FeatureSpec:
        return FeatureSpec(dim, source.rate, source.count, source.lookahead)

    def length(self, count: int) -> int:
        return count

    def footprint(self, source: FeatureSpec, dim: int) -> Footprint:
        return footprints.pointwise((source.dim, *[self.hidden or dim] * (self.depth - 1), dim), norm=self.norm)

    def build(self, source: FeatureSpec, dim: int) -> "PointwiseProjector":
        from omnikit_basics.projectors import PointwiseProjector

        widths = (source.dim, *[self.hidden or dim] * (self.depth - 1), dim)
        return PointwiseProjector(widths, self.activation, norm=self.norm)


@dataclass(frozen=True)
class StackMlp:
    """Join each `stride` frames, then Linear, ReLU, Linear.

    Source: LLaMA-Omni, arXiv:2409.06666, whose code drops the tail; also SLAM-ASR, arXiv:2402.08846.

    Args:
        stride: frames that are joined.
        hidden: width between the Linears.
        tail: what becomes of the last frames that are fewer than `stride`: dropped, or padded with zeros.
        uneven: a fixed number of frames that the stride does not divide has such a tail too; false refuses the stride.
    """

    stride: int = 5
    hidden: int = 256
    tail: Literal["drop", "pad"] = "drop"
    uneven: bool = field(default=False, metadata=LATER)

    def __post_init__(self) -> None:
        _at_least(1, stride=self.stride, hidden=self.hidden)

    def output(self, source: FeatureSpec, dim: int) -> FeatureSpec:
        if source.rate is not None:
            lookahead = source.lookahead + float((self.stride - 1) / source.rate)
            return FeatureSpec(dim, rate=source.rate / self.stride, lookahead=lookahead)
        count = source.count or 0
        if count % self.stride and not self.uneven:
            divisors = [divisor for divisor in range(1, count + 1) if count % divisor == 0]
            near = sorted(sorted(divisors, key=lambda divisor: abs(divisor - self.stride))[:3])
            raise ValueError(f"stride is {self.stride}, but the encoder gives {count} vectors per item; "
                             f"use a divisor: {', '.join(map(str, near))}")
        return FeatureSpec(dim, count=self.length(count), lookahead=source.lookahead)

    def length(self, count: int) -> int:
        return count // self.stride if self.tail == "drop" else -(-count // self.stride)

    def footprint(self, source: FeatureSpec, dim: int) -> Footprint:
        return footprints.pointwise((source.dim, self.hidden, dim), joined=self.stride)

    def build(self, source: FeatureSpec, dim: int) -> "StackProjector":
        from omnikit_basics.projectors import StackProjector

        return StackProjector(self, source.dim, dim)


@dataclass(frozen=True)
class StridedConv:
    """One strided convolution over time, norm, activation, Linear.

    The time axis is padded with kernel - 1 zeros, so every vector counts and length = ceil(count / stride).

    Args:
        kernel: frames that a convolution spans.
        stride: frames per output frame.
        hidden: channels of the convolution.
        causal: zeros on the left, so it depends on the past only; False puts them on the right, as VITA's adapter does.
        norm: over the channels of a frame, over the valid frames of the batch, or none.
        eps: added to the variance by the norm; that of VITA's adapter is larger than usual, harmless elsewhere.
        prompts: learned embeddings put before the output of each item.
    """

    kernel: int = 5
    stride: int = 2
    hidden: int = 256
    causal: bool = True
    norm: Literal["layer", "batch", "none"] = "layer"
    activation: Activation = "gelu"
    eps: float = field(default=1e-3, metadata=LATER)
    prompts: int = field(default=0, metadata=LATER)

    def __post_init__(self) -> None:
        _at_least(1, kernel=self.kernel, stride=self.stride, hidden=self.hidden)
        _at_least(0, prompts=self.prompts)
        if self.eps <= 0:
            raise ValueError(f"eps is {self.eps}, but must be above 0")

    def output(self, source: FeatureSpec, dim: int) -> FeatureSpec:
        if source.rate is None:
            return FeatureSpec(dim, count=self.length(source.count or 0), lookahead=source.lookahead)
        ahead = 0.0 if self.causal else float((self.kernel - 1) / source.rate)
        return FeatureSpec(dim, rate=source.rate / self.stride, lookahead=source.lookahead + ahead)

    def length(self, count: int) -> int:
        return self.prompts - (-count // self.stride)

    def footprint(self, source: FeatureSpec, dim: int) -> Footprint:
        return footprints.strided_conv(source.dim, dim, self.hidden, kernel=self.kernel, stride=self.stride,
                                       norm=self.norm != "none", prompts=self.prompts)

    def build(self, source: FeatureSpec, dim: int) -> "StridedConvProjector":
        from omnikit_basics.projectors import StridedConvProjector

        return StridedConvProjector(self, source.dim, dim)


@dataclass(frozen=True)
class QFormer:
    """Learned queries that attend to each other and to the features: a fixed number of embeddings for any input.

    Layers are pre-norm, which trains from random weights; BLIP-2's BERT is post-norm. Source: arXiv:2301.12597.

    Args:
        queries: embeddings per item.
        cross_every: cross-attention stands in the first of every so many layers.
    """

    queries: int = 32
    dim: int = 128
    layers: int = 2
    heads: int = 4
    ffn: int = 512
    cross_every: int = 1
    dropout: float = 0.0

    def __post_init__(self) -> None:
        _at_least(1, queries=self.queries, dim=self.dim, layers=self.layers, heads=self.heads, ffn=self.ffn,
                  cross_every=self.cross_every)
        if self.dim % self.heads:
            raise ValueError(f"heads is {self.heads}, but must divide dim, which is {self.dim}")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout is {self.dropout}, but must be at least 0 and below 1")

    def output(self, source: FeatureSpec, dim: int) -> FeatureSpec:
        return FeatureSpec(dim, count=self.queries, lookahead=math.inf)

    def length(self, count: int) -> int:
        return self.queries

    def footprint(self, source: FeatureSpec, dim: int) -> Footprint:
        return footprints.qformer(source.dim, dim, self.queries, dim=self.dim, ffn=self.ffn, layers=self.layers,
                                  crossing=-(-self.layers // self.cross_every))

    def build(self, source: FeatureSpec, dim: int) -> "QFormerProjector":
        from omnikit_basics.qformer import QFormerProjector

        return QFormerProjector(self, source.dim, dim)


# ---- heads -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Lm:
    """Next-token cross-entropy on the backbone's logits; has no parameters and nothing to set."""

    @property
    def tap(self) -> str:
        return "logits"

    @property
    def target(self) -> str:
        return "tokens"

    @property
    def alignment(self) -> str:
        return "predicts"

    def codes(self, codec: CodecSpec) -> str | None:
        return "it emits text tokens only"

    def footprint(self, source: FeatureSpec, codec: CodecSpec | None, vocabulary: int) -> Footprint:
        return Footprint(0)

    def build(self, source: FeatureSpec, codec: CodecSpec | None, vocabulary: int) -> "LmHead":
        from omnikit_basics.heads import LmHead

        return LmHead()


@dataclass(frozen=True)
class CtcText:
    """CTC over text tokens on an encoder's features: a transcript branch for training, or a small ASR model.

    Args:
        tap: the features it reads: <branch>.encoder or <branch>.projector.
        norm: LayerNorm before the Linear.
        tokenizer: whose tokens it emits, by name or path; None: the backbone's.
        stack: frames joined into one; words are learned sooner from about 12 frames a second than from 50.
    """

    tap: str = "audio.encoder"
    norm: bool = True
    tokenizer: str | None = None
    stack: int = 1

    def __post_init__(self) -> None:
        if self.stack < 1:
            raise ValueError(f"stack is {self.stack}, but must be at least 1")
        if "." not in self.tap:
            raise ValueError(f"tap is {self.tap!r}, but must be a path to features such as 'audio.encoder'")

    @property
    def target(self) -> str:
        return "transcript"

    @property
    def alignment(self) -> str:
        return "none"

    def codes(self, codec: CodecSpec) -> str | None:
        return "it emits text tokens only"

    def unreachable(self, vectors: int, ids: Sequence[int]) -> str | None:
        """Say why CTC cannot give `ids` from so many features: it takes a frame each, and a blank between two equal ones."""
        frames, needed = -(-vectors // self.stack), len(ids) + sum(one == other for one, other in pairwise(ids))
        return None if needed <= frames else (
            f"what is said is {len(ids)} tokens, which take {needed} frames, but the audio gives {frames}; leave the row out,"
            " or take features with a higher rate, a smaller `stack` or a tokenizer with longer pieces")

    def footprint(self, source: FeatureSpec, codec: CodecSpec | None, vocabulary: int) -> Footprint:
        return footprints.classes(source.dim, vocabulary + 1, norm=self.norm, joined=self.stack)

    def build(self, source: FeatureSpec, codec: CodecSpec | None, vocabulary: int) -> "CtcTextHead":
        from omnikit_basics.heads import CtcTextHead

        return CtcTextHead(source.dim, vocabulary, norm=self.norm, stack=self.stack)


@dataclass(frozen=True)
class CaptionWords:
    """Which tokens an image's caption has, from the mean of its features; needs no language model.

    Source: SuperClass, arXiv:2411.03313; here every token weighs the same.

    Args:
        tap: the features it reads: <branch>.encoder or <branch>.projector.
        tokenizer: whose tokens it predicts, by name or path; None: the backbone's.
    """

    tap: str = "vision.encoder"
    tokenizer: str | None = None

    def __post_init__(self) -> None:
        if "." not in self.tap:
            raise ValueError(f"tap is {self.tap!r}, but must be a path to features such as 'vision.encoder'")

    @property
    def target(self) -> str:
        return "caption"

    @property
    def alignment(self) -> str:
        return "none"

    def codes(self, codec: CodecSpec) -> str | None:
        return "it predicts text tokens only"

    def footprint(self, source: FeatureSpec, codec: CodecSpec | None, vocabulary: int) -> Footprint:
        return footprints.classes(source.dim, vocabulary, norm=True)

    def loss_count(self, targets: "Targets") -> float:
        """Give the images: each counts alike, however long its caption is."""
        return len(targets.ids)

    def build(self, source: FeatureSpec, codec: CodecSpec | None, vocabulary: int) -> "CaptionWordsHead":
        from omnikit_basics.heads import CaptionWordsHead

        return CaptionWordsHead(source.dim, vocabulary)


@dataclass(frozen=True)
class State:
    """Predicts whether a question was meant for the model, at the last position of its audio in the backbone's output.

    Source: the head of VITA-1.5's experimental variant (VITA-MLLM/VITA): one class more than states, cross-entropy weighed
    [1, 5, 1].

    Args:
        branch: the input branch of the question.
        classes: states: meant for the model, noise, and more where a checkpoint has them; one class more is never a target.
        weights: of the classes in the loss, that of the last class too.
    """

    branch: str = "audio"
    classes: int = 2
    weights: tuple[float, ...] = (1.0, 5.0, 1.0)

    def __post_init__(self) -> None:
        _at_least(2, classes=self.classes)
        if len(self.weights) != self.classes + 1:
            raise ValueError(f"weights has {len(self.weights)} numbers, but must have {self.classes + 1}: one for each of the"
                             f" {self.classes} classes and one for the class that is never a target")
        if not all(0 < weight < math.inf for weight in self.weights):
            raise ValueError(f"weights is {list(self.weights)}, but every weight must be above 0 and finite")

    @property
    def tap(self) -> str:
        return "hidden"

    @property
    def target(self) -> str:
        return "state"

    @property
    def alignment(self) -> str:
        return "none"

    def codes(self, codec: CodecSpec) -> str | None:
        return "it predicts states only"

    def footprint(self, source: FeatureSpec, codec: CodecSpec | None, vocabulary: int) -> Footprint:
        return footprints.classes(source.dim, len(self.weights))

    def loss_count(self, targets: "Targets") -> float:
        """Give the sum of the targets' weights."""
        return sum(float(self.weights[label]) for label in targets.ids.flatten().tolist() if label >= 0)

    def build(self, source: FeatureSpec, codec: CodecSpec | None, vocabulary: int) -> "StateHead":
        from omnikit_basics.heads import StateHead

        return StateHead(source.dim, self.weights)


# ---- reader ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MessagesJsonl:
    """Conversations, one JSON object in a line, with media in files beside them.

    Args:
        path: the .jsonl file; or a folder, then `split` names the file in it.
        split: reads <path>/<split>.jsonl.
        root: folder that relative media paths start from; None: the folder of the .jsonl file.
        provides: what every row holds (see omnikit.contracts.configs.ReaderConfig).
        seconds: no audio in a question is longer than this; None if unknown.
    """

    path: str
    split: str | None = None
    root: str | None = None
    provides: tuple[str, ...] = ("text", "audio", "answer")
    seconds: float | None = None

    def __post_init__(self) -> None:
        for word in self.provides:
            if word not in PROVIDES:
                raise ValueError(f"provides holds {word!r}, but must be among {', '.join(PROVIDES)}")

    def build(self) -> "JsonlReader":
        from omnikit_basics.reader import JsonlReader

        return JsonlReader(self)


def _at_least(least: int, **values: int) -> None:
    for name, value in values.items():
        if value < least:
            raise ValueError(f"{name} is {value}, but must be at least {least}")
