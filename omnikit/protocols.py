"""Roles: what a component's dataclass offers before weights exist, and what the module it builds can do.

A plugin needs none of these as a base class; they say what the toolkit will call. `state` is what changes between chunks;
streaming members (`init_state`, `step`) belong to components that claim to stream (omnikit.streaming).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from omnikit.specs import CodecSpec, FeatureSpec, SignalSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from torch import Generator, Tensor, nn

    from omnikit.plan import Plan
    from omnikit.types import Features, Published, Reconstruction, Sample, Signal, Stored, Targets


# ---- dataclasses: configuration and contract -------------------------------------------------------------------------


@runtime_checkable
class EncoderConfig(Protocol):
    """Turns a signal into features.

    - pictures, where it reads images: the PictureSpec by which pictures and films become its signals, one for each tile.
    """

    @property
    def input(self) -> SignalSpec: ...
    @property
    def output(self) -> FeatureSpec: ...
    def length(self, samples: int) -> int:
        """Give the exact number of vectors for a signal of `samples` samples."""

    def build(self) -> nn.Module: ...


@runtime_checkable
class ProjectorConfig(Protocol):
    """Turns an encoder's features into vectors as wide as the backbone."""

    def output(self, source: FeatureSpec, dim: int) -> FeatureSpec:
        """Give what comes out for `source` and a backbone `dim` wide; raise ValueError if `source` does not fit."""

    def length(self, count: int) -> int:
        """Give the exact number of vectors for `count` incoming vectors."""

    def build(self, source: FeatureSpec, dim: int) -> nn.Module: ...


@runtime_checkable
class BackboneConfig(Protocol):
    """A causal language model: width, vocabulary size, context (positions), native template, tokenizer reference.

    - ends, where a backbone has it: ids that end an answer, beside the template's end.
    - packs, where a backbone has it: True if its module takes `documents`, so that rows may hold several conversations.
    - build_table(fresh), where a backbone has it: `embed` alone, named as in the whole; undefined unless `fresh`.
    """

    @property
    def dim(self) -> int: ...
    @property
    def vocabulary(self) -> int: ...
    @property
    def context(self) -> int: ...
    @property
    def template(self) -> str: ...
    @property
    def specials(self) -> tuple[str, ...]:
        """Special tokens that its tokenizer knows; the template's must be among them."""

    @property
    def tokenizer(self) -> str:
        """A tokenizer by name (`conf/tokenizer`), folder or file."""

    def build(self) -> nn.Module: ...


@runtime_checkable
class HeadConfig(Protocol):
    """Turns what it taps into ids.

    - tap: "logits" (of the backbone), "hidden", "embedding", or a features path such as "audio.encoder".
    - target: "tokens" (the answer's text), "codes" (the answer's speech), "transcript" (what the tapped audio says),
      "caption" (what the tapped picture shows, in words),
      "state" (whether a question was meant for the model: 0 it was, 1 it is noise), read at the last position of each audio.
    - branch, where its target is "state": the input branch whose audio that is; "audio" where it has none.
    - alignment: for taps on the backbone, "predicts" (the state that predicted the token) or "reads" (the state at it).
    - unreachable(vectors, ids), where a head can tell: why it could never give these ids from so many vectors, or None.
    - training_alignment, where a head has it: the alignment of the states that its loss reads; None or absent: the same.
    - reads(source), where a head can tell: why it cannot read such vectors, in one clause, or None.
    - context: "hidden" if `loss` and `speak` also take the backbone's output. A head that taps "embedding" reads words.
    """

    @property
    def tap(self) -> str: ...
    @property
    def target(self) -> str: ...
    @property
    def alignment(self) -> str: ...
    def codes(self, codec: CodecSpec) -> str | None:
        """Say in one clause why this head cannot emit this codec's codes, or None if it can."""

    def build(self, source: FeatureSpec, codec: CodecSpec | None, vocabulary: int) -> nn.Module: ...


@runtime_checkable
class CodecConfig(Protocol):
    """Waves to codes and back."""

    @property
    def spec(self) -> CodecSpec: ...
    @property
    def encodes(self) -> bool: ...
    @property
    def decodes(self) -> bool: ...
    @property
    def objectives(self) -> tuple[str, ...]:
        """The stage objectives that fit it ("units", "vocoder", "codec"); none if it comes with its weights."""

    def build(self) -> nn.Module: ...


class VocoderConfig(CodecConfig, Protocol):
    """A codec with objective "vocoder" or "codec"; `averages`, where it has it: its codes are means, which no loss moves."""

    @property
    def segment(self) -> int:
        """Frames of a training segment."""

    @property
    def discriminator_dim(self) -> int:
        """Width of the discriminators, where a stage has adversarial losses; a multiple of 4."""


@runtime_checkable
class ReaderConfig(Protocol):
    """A dataset format.

    - provides: what its rows hold, among "text", "audio", "image", "video", "prompt" (in questions), "transcript" (text of the
      audio), "answer" (text), "speech" (the answer's wave), "codes" (the answer's codes).
    - seconds: no audio in a question is longer than this; None if unknown.
    """

    @property
    def provides(self) -> tuple[str, ...]: ...
    @property
    def seconds(self) -> float | None: ...
    def build(self) -> Reader: ...


@runtime_checkable
class ImporterConfig(Protocol):
    """A published layout of whole models, read and written; its fields are the files, the first one the folder.

    Its mistakes are RunErrors of one sentence: what is missing or unreadable, where, and what to give.
    """

    def recipe(self) -> dict[str, object]:
        """Give the model as a recipe's YAML would hold it, without stages, from what the files say."""

    def open(self) -> Published:
        """Give the tensors; none is read yet."""

    def files(self) -> tuple[Path, ...]:
        """Give the files that are there; a change of theirs makes a finished import stale."""

    @staticmethod
    def write(plan: Plan, tensors: Mapping[str, Mapping[str, Stored]], folder: Path) -> None:
        """Write part → our name → tensor of a model into an empty folder, as the layout has it."""


# ---- what they build -------------------------------------------------------------------------------------------------


class Encoder(Protocol):
    """nn.Module; features of a signal, at rest beyond `lengths`."""

    def __call__(self, signal: Signal) -> Features: ...


class Projector(Protocol):
    """nn.Module; features to features."""

    def __call__(self, features: Features) -> Features: ...


class Backbone(Protocol):
    """nn.Module around a causal language model.

    Source of the padding rule: rows are padded on the right in training and on the left in generation; `mask` is True = valid,
    and positions count valid tokens only.
    """

    def embed(self, tokens: Tensor) -> Tensor:
        """tokens [B, L] to vectors [B, L, D]."""

    def __call__(self, inputs: Tensor, mask: Tensor, documents: Tensor | None = None) -> Tensor:
        """inputs [B, L, D] and mask [B, L] bool to hidden [B, L, D] (after the final norm).

        `documents` [B, L] int64 come only where the configuration `packs`: the number of the conversation that each place
        belongs to, 0 for padding. A conversation sees itself only, and its positions begin at 0.
        """

    def logits(self, hidden: Tensor) -> Tensor:
        """hidden [..., D] to logits [..., V]."""

    def init_state(self, batch: int) -> object: ...
    def step(self, inputs: Tensor, mask: Tensor, state: object) -> tuple[Tensor, object]:
        """New inputs [B, N, D] after what `state` holds; mask [B, past + N]; gives hidden [B, N, D]."""


class Head(Protocol):
    """nn.Module; a loss for training and ids for inference."""

    def loss(self, features: Features, targets: Targets) -> Tensor:
        """Scalar float32, a mean over the targets of the batch; raises DataError where a target cannot be reached."""

    def decode(self, features: Features) -> list[list[int]]:
        """Greedy ids of each row."""


class Codec(Protocol):
    """nn.Module; waves [N] float32 in [-1, 1] at spec.sample_rate, codes [T] int64 (runs merged where the spec says so)."""

    def encode(self, wave: Tensor) -> Tensor: ...
    def decode(self, codes: Tensor) -> Tensor: ...


class LabellingCodec(Codec, Protocol):
    """A codec that makes codes of waves and says which frame has which; a vocoder learns from it."""

    def label(self, wave: Tensor) -> Tensor:
        """Wave [N] to one code per frame [T] int64, runs not merged; frame t begins at second t / spec.rate."""


class Vocoder(Codec, Protocol):
    """A codec that speaks codes and learns to by gradients (`objective: vocoder`)."""

    def generate(self, codes: Tensor) -> Tensor:
        """One code per frame [B, T] to waves [B, T x samples of a frame]."""

    def log_durations(self, codes: Tensor, mask: Tensor) -> Tensor:
        """Merged codes [B, T], mask [B, T] True = valid, to log(frames + 1) [B, T]; not asked for where runs are not merged."""


class TrainableCodec(Codec, Protocol):
    """A codec that learns encoder, quantisers and decoder together by gradients (`objective: codec`); its configuration is a
    VocoderConfig.

    While it learns, it counts which codes were drawn and keeps some of the vectors they were drawn for, neither of which its
    weights file holds.
    """

    def reconstruct(self, waves: Tensor, *, quantise: bool = True) -> Reconstruction:
        """Waves [B, N], N whole frames, through the codes and back, with gradients for all parts (straight through the codes).

        Without `quantise` vectors pass the quantisers unchanged: no codes, no losses. In training mode the codes are counted.
        """

    def usage(self) -> dict[str, float]:
        """Give the share of each codebook (or group of them) that was drawn since the last `revive`, by its name."""

    def revive(self, generator: Generator) -> int:
        """Give each code that nobody drew since the last call a vector that the encoder gave since; give how many did."""


class FittedCodec(Codec, Protocol):
    """A codec that is fitted rather than trained by gradients alone (`objective: units`)."""

    def fit(self, waves: Sequence[Tensor], generator: Generator, progress: Callable[[float], None]) -> dict[str, float]:
        """Fit to waves; call `progress` with the finished share; give numbers for the stage's record."""


class Reader(Protocol):
    """Samples by index; a broken row raises DataError when it is asked for.

    - problems(index), where a reader has it: all that is wrong with a row, as DataErrors with kinds, for `omnikit data check`.
    """

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Sample: ...


class TTS(Protocol):
    """Speaks text in-process."""

    @property
    def version(self) -> str:
        """What makes the samples; part of the name under which they are kept."""

    def speak(self, text: str, voice: str, speed: int, pitch: int) -> tuple[NDArray[np.float32], int]: ...
    def voices(self) -> Iterator[str]: ...
