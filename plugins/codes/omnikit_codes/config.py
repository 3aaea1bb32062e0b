"""Heads for codecs of several codebooks: sizes, contracts and how codes are chosen. Imports no torch; `build` imports it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from omnikit.contracts.footprint import Footprint, Matrix, Saved, linear
from omnikit.contracts.specs import CodecSpec, FeatureSpec
from omnikit_codes.patterns import PATTERNS, Pattern, PatternName

if TYPE_CHECKING:
    from torch import nn

    from omnikit.contracts.types import Targets

SECONDS = 0.3  # that a token of text lasts where it is spoken, about
TAPS = ("embedding", "hidden")


@dataclass(frozen=True)
class FrameDecoderConfig:
    """What both heads share: a decoder over frames behind the features of an answer, which attend to each other both ways.

    The input of a step is the sum of the embeddings of the codes of the step before.

    Args:
        dim: width of its layers.
        layers: LLaMA layers that take the features and then the codes.
        heads: attention heads.
        ffn: width inside the feed-forward layers.
        rms_eps: epsilon of the norms.
        rope_theta: base of the rotary frequencies.
        tap: "embedding" takes the embeddings of a sentence's text, which is spoken as soon as it is complete; "hidden" takes
            the hidden states of an answer, which is spoken when it is complete.
        top_k: each code is drawn from this many best ones; 1 takes the best.
        seed: draws them, from the start for each sentence.
        max_frames: of a sentence at most; a sentence that reaches it is cut and marked so.
    """

    dim: int = 128
    layers: int = 4
    heads: int = 4
    ffn: int = 384
    rms_eps: float = 1e-6
    rope_theta: float = 10000.0
    tap: Literal["embedding", "hidden"] = "embedding"
    top_k: int = 1
    seed: int = 0
    max_frames: int = 1000

    def __post_init__(self) -> None:
        for name in ("dim", "layers", "heads", "ffn", "top_k", "max_frames"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, but must be at least 1")
        if self.dim % (2 * self.heads):
            raise ValueError(f"dim is {self.dim}, but must be a multiple of 2 x heads ({2 * self.heads})")
        if self.rope_theta <= 0 or self.rms_eps <= 0:
            raise ValueError(f"rope_theta is {self.rope_theta:g} and rms_eps {self.rms_eps:g}, but both must be positive")
        if self.tap not in TAPS:
            raise ValueError(f"tap is {self.tap!r}, but must be one of {', '.join(TAPS)}")

    @property
    def target(self) -> str:
        """It learns the codes of the answer's speech."""
        return "codes"

    @property
    def alignment(self) -> str:
        """With hidden states: those that predicted the text's tokens, which are at hand when they are generated."""
        return "predicts"

    @property
    def codebooks(self) -> int | None:
        """It emits as many codes a frame as the codec has codebooks."""
        return None

    def codes(self, codec: CodecSpec) -> str | None:
        """Give why this head cannot emit this codec's codes; None if it can."""
        return "it gives one code a frame, but the codec merges runs of one code" if codec.merged else None

    def unreachable(self, vectors: int, ids: Sequence[int]) -> str | None:
        """Give why it could never learn `ids` from so many tokens."""
        return None if vectors else f"its speech is {len(ids)} frames, but there is no text to make them of"

    def loss_count(self, targets: Targets) -> float:
        """Give the codes of all codebooks and the end of each row."""
        return float(targets.lengths.sum()) * targets.ids.shape[-1] + len(targets.lengths)


@dataclass(frozen=True)
class ParallelCodes(FrameDecoderConfig):
    """Codes of all codebooks by an autoregressive decoder over frames, with one classifier for each codebook.

    Args:
        pattern: "parallel" gives all codes of a frame in one step, "delayed" codebook q one step behind codebook q - 1, and
            "flattened" one code a step, which takes as many steps as there are codes.

    Source: patterns of MusicGen, arXiv:2306.05284.
    """

    pattern: PatternName = "delayed"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pattern not in PATTERNS:
            raise ValueError(f"pattern is {self.pattern!r}, but must be one of {', '.join(PATTERNS)}")

    def footprint(self, source: FeatureSpec, codec: CodecSpec | None, vocabulary: int) -> Footprint:
        """Give how large it is; a unit is a token of the answer, with the steps that it lasts."""
        books, codes = (codec.codebooks, codec.cardinality) if codec else (1, 0)
        classes = books * codes + 1
        steps = SECONDS * float(codec.rate if codec else 0) * (books if self.pattern == "flattened" else 1)
        outside = Saved(2 * self.dim + 3 * classes, classes).times(steps)
        return _footprint(self, source, books * (codes + 2) * self.dim + linear(self.dim, classes), steps, outside)

    def build(self, source: FeatureSpec, codec: CodecSpec | None, vocabulary: int) -> nn.Module:
        """Give the module; the vocabulary of text does not matter to it."""
        from omnikit_codes.parallel_codes import ParallelCodesHead

        if codec is None:
            raise ValueError("head parallel_codes has no codec, but needs one beside it for its codes")
        return ParallelCodesHead(self, source.dim, codec.codebooks, codec.cardinality)


@dataclass(frozen=True)
class DepthCodes(FrameDecoderConfig):
    """The first code of a frame by a decoder over frames, the others by a small decoder over the codebooks of the frame.

    Args:
        depth_dim: width of the decoder over codebooks.
        depth_layers: its layers.
        depth_heads: its attention heads.
        depth_ffn: width inside its feed-forward layers.

    Source: Moshi, arXiv:2410.00037; CSM (Sesame), whose first codebook comes from the decoder over frames.
    """

    depth_dim: int = 64
    depth_layers: int = 2
    depth_heads: int = 4
    depth_ffn: int = 192

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("depth_dim", "depth_layers", "depth_heads", "depth_ffn"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, but must be at least 1")
        if self.depth_dim % (2 * self.depth_heads):
            raise ValueError(f"depth_dim is {self.depth_dim}, but must be a multiple of 2 x depth_heads"
                             f" ({2 * self.depth_heads})")

    def codes(self, codec: CodecSpec) -> str | None:
        """Give why this head cannot emit this codec's codes; None if it can."""
        if codec.codebooks < 2:
            return "it decodes the codebooks behind the first one, but the codec has only one codebook"
        return super().codes(codec)

    def footprint(self, source: FeatureSpec, codec: CodecSpec | None, vocabulary: int) -> Footprint:
        """Give how large it is; a unit is a token of the answer, with the frames that it lasts."""
        books, codes = (codec.codebooks, codec.cardinality) if codec else (2, 0)
        depth, frames = self.depth_dim, SECONDS * float(codec.rate if codec else 0)
        own = (linear(self.dim, depth, bias=False) + self.depth_layers * _layer(depth, self.depth_ffn) + depth
               + (books - 1) * codes * depth)
        saved = Saved(2 * depth, 8 * depth + 4 * self.depth_ffn).times(self.depth_layers * books * frames)
        classes = Saved(2 * self.dim + 3 * books * codes, books * codes).times(frames)
        outside = Saved(saved.wide + classes.wide, saved.narrow + classes.narrow)
        return _footprint(self, source, books * (codes + 2) * self.dim + linear(self.dim, codes + 1) + own, frames, outside)

    def build(self, source: FeatureSpec, codec: CodecSpec | None, vocabulary: int) -> nn.Module:
        """Give the module; the vocabulary of text does not matter to it."""
        from omnikit_codes.depth_codes import DepthCodesHead

        if codec is None:
            raise ValueError("head depth_codes has no codec, but needs one beside it for its codes")
        return DepthCodesHead(self, source.dim, codec.codebooks, codec.cardinality)


@dataclass(frozen=True)
class DelayedCodes:
    """Codes of all codebooks at each step of the language model, which reads them at the next one beside its own text.

    The embeddings of a step's codes, one table for each codebook, are summed and added to the language model's input.
    Codebook q is one step behind codebook q - 1, and the first one `delay` steps behind the text. Where the text has ended,
    its last token is repeated until the codes have.

    Args:
        delay: steps of text before the first code.
        top_k: each code is drawn from this many best ones; 1 takes the best.
        seed: draws them, from the start for each answer.
        max_frames: of an answer at most.

    Source: Mini-Omni2, arXiv:2410.11190; patterns of MusicGen, arXiv:2306.05284.
    """

    delay: int = 1
    top_k: int = 1
    seed: int = 0
    max_frames: int = 1000

    target, tap, alignment = "codes", "hidden", "predicts"
    codebooks = None

    def __post_init__(self) -> None:
        if self.delay < 0:
            raise ValueError(f"delay is {self.delay}, but must be at least 0")
        for name in ("top_k", "max_frames"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, but must be at least 1")

    def codes(self, codec: CodecSpec) -> str | None:
        """Give why this head cannot emit this codec's codes; None if it can."""
        return "it gives one code a frame, but the codec merges runs of one code" if codec.merged else None

    def steps(self, frames: int, codebooks: int) -> int:
        """Give the steps of the language model that emit so many frames and their end."""
        return self.delay + Pattern("delayed", codebooks).steps(frames)

    def loss_count(self, targets: Targets) -> float:
        """Give the codes of all codebooks and the end of each row."""
        return float(targets.lengths.sum()) * targets.ids.shape[-1] + len(targets.lengths)

    def footprint(self, source: FeatureSpec, codec: CodecSpec | None, vocabulary: int) -> Footprint:
        """Give how large it is; a unit is a token of the answer, with the steps that it lasts."""
        books, codes = (codec.codebooks, codec.cardinality) if codec else (1, 0)
        classes, steps = books * codes + 1, SECONDS * float(codec.rate if codec else 0)
        parameters = books * (codes + 2) * source.dim + linear(source.dim, classes)
        return Footprint(parameters, outside=Saved(3 * classes, source.dim + classes).times(steps))

    def build(self, source: FeatureSpec, codec: CodecSpec | None, vocabulary: int) -> nn.Module:
        """Give the module; the vocabulary of text does not matter to it."""
        from omnikit_codes.delayed_codes import DelayedCodesHead

        if codec is None:
            raise ValueError("head delayed_codes has no codec, but needs one beside it for its codes")
        return DelayedCodesHead(self, source.dim, codec.codebooks, codec.cardinality)


def _layer(dim: int, ffn: int) -> int:
    return 4 * dim**2 + 3 * dim * ffn + 2 * dim


def _footprint(config: FrameDecoderConfig, source: FeatureSpec, own: int, steps: float, outside: Saved) -> Footprint:
    """Give that of a head with `own` parameters beside the input projection, the layers and their norm."""
    dim, ffn, layers = config.dim, config.ffn, config.layers
    parameters = linear(source.dim, dim) + layers * _layer(dim, ffn) + dim + own
    matrices = (Matrix(4 * layers, dim, dim), Matrix(2 * layers, dim, ffn), Matrix(layers, ffn, dim))
    return Footprint(parameters, layers=layers, width=(1 + steps) * dim,
                     layer=Saved(2 * dim, 8 * dim + 4 * ffn).times(1 + steps), outside=outside, square=config.heads,
                     matrices=matrices)
