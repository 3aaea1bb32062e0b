"""What a component's dataclass offers before weights exist: its configuration and its contract.

A plugin needs none of these as a base class; they say what the toolkit will call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from omnikit.contracts.specs import CodecSpec, FeatureSpec, SignalSpec, Template

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from omnikit.contracts.protocols import TTS, VAD, Reader
    from omnikit.contracts.types import CheckpointTensors, LazyTensor


@dataclass(frozen=True)
class ModelDescription:
    """A model without its weights, as a layout is written from it.

    Args:
        parts: part → its configuration, in wiring order.
        uses: part → the name of its component.
        template: how conversations become text.
        template_name: the template that the recipe names instead of the backbone's own.
        codes: output branch → what its codec's codes are.
        settings: `system` and `generate`, as a recipe's YAML holds them.
    """

    parts: Mapping[str, Any]
    uses: Mapping[str, str]
    template: Template | None
    template_name: str | None
    codes: Mapping[str, CodecSpec]
    settings: Mapping[str, object]


Describe = Callable[[Mapping[str, object]], ModelDescription]  # what a recipe's YAML stands for


@runtime_checkable
class EncoderConfig(Protocol):
    """Turns a signal into features.

    - images, where it reads images: the ImageSpec by which images and videos become its signals, one for each tile.
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
class FusionProjectorConfig(Protocol):
    """Turns the features of several encoders, which read the same signals, into one sequence as wide as the backbone.

    Its module takes one Features for each source, in order: those of its own branch first. A projector may be of both kinds.
    """

    def fused_output(self, sources: Sequence[FeatureSpec], dim: int) -> FeatureSpec:
        """As ProjectorConfig.output, of several sources; raises ValueError if they do not fit together."""

    def fused_length(self, counts: Sequence[int]) -> int:
        """Give the exact number of vectors for so many incoming vectors of each source."""

    def build_fused(self, sources: Sequence[FeatureSpec], dim: int) -> nn.Module: ...


@runtime_checkable
class BackboneConfig(Protocol):
    """A causal language model: width, vocabulary size, context (positions), native template, tokenizer reference.

    - ends, where a backbone has it: ids that end an answer, beside the template's end.
    - packs, where a backbone has it: True if its module takes `documents`, so that rows may hold several conversations.
    - fusions, where a backbone has it: how embeddings of media may enter: "splice", which all take, or "cross_attention".
    - takes_layout, where a backbone has it: True if its module takes an InputLayout.
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
        """Special tokens that its tokenizer has; the template's must be among them."""

    @property
    def tokenizer(self) -> str:
        """A tokenizer by name (`conf/tokenizer`), folder or file."""

    def build(self) -> nn.Module: ...


@runtime_checkable
class HeadConfig(Protocol):
    """Turns what it taps into ids.

    - tap: "logits" (of the backbone), "hidden", "embedding", or a features path such as "audio.encoder".
    - target: "tokens" (the answer's text), "codes" (the answer's speech), "transcript" (the text of the tapped audio),
      "caption" (what the tapped image shows, in words),
      "state" (whether a question was meant for the model: 0 it was, 1 it is noise), read at the last position of each audio.
    - branch, where its target is "state": the input branch whose audio that is; "audio" where it has none.
    - alignment: for taps on the backbone, "predicts" (the state that predicted the token) or "reads" (the state at it).
    - unreachable(vectors, ids), where a head can tell: why it could never give these ids from so many vectors, or None.
    - training_alignment, where a head has it: the alignment of the states that its loss reads; None or absent: the same.
    - reads(source), where a head can tell: why it cannot read such vectors, in one clause, or None.
    - loss_count(targets), where a head has it: what its loss is a mean over, where that is not the number of its ids.
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

    def open(self) -> CheckpointTensors:
        """Give the tensors; none is read yet."""

    def files(self) -> tuple[Path, ...]:
        """Give the files that are there; a change of theirs makes a finished import stale."""

    @staticmethod
    def write(model: ModelDescription, tensors: Mapping[str, Mapping[str, LazyTensor]], folder: Path,
              describe: Describe) -> None:
        """Write part → our name → tensor of a model into an empty folder, as the layout has it.

        Args:
            describe: what a recipe's YAML (see `recipe`) stands for; raises OmnikitError where it does not fit together.
        """


@runtime_checkable
class NormaliserConfig(Protocol):
    """Turns text as it is written into the text that is spoken, for heads that read words; holds no weights."""

    def build(self) -> Callable[[str], str]:
        """Give the function; of text with nothing to speak it gives only space."""


@runtime_checkable
class TTSConfig(Protocol):
    """Text to speech."""

    def build(self) -> TTS: ...


@runtime_checkable
class VADConfig(Protocol):
    """Voice activity detection in frames of `frame` samples at `sample_rate`; it may come with weights."""

    @property
    def sample_rate(self) -> int: ...
    @property
    def frame(self) -> int: ...
    def build(self) -> VAD: ...
