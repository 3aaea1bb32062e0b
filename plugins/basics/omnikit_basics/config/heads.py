"""The settings and contracts of the text heads. Imports no torch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from omnikit.contracts.footprint import Footprint
from omnikit.contracts.specs import CodecSpec, FeatureSpec
from omnikit_basics import footprints
from omnikit_basics.config.limits import at_least

if TYPE_CHECKING:
    from omnikit.contracts.types import Targets
    from omnikit_basics.heads import CaptionWordsHead, CtcTextHead, LmHead, StateHead


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
        at_least(2, classes=self.classes)
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
