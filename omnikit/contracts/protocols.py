"""Roles: what the module that a component builds can do; its configuration is in omnikit.contracts.configs.

A plugin needs none of these as a base class; they say what the toolkit will call. `state` is what changes between chunks;
streaming members (`init_state`, `step`) belong to components that claim to stream (omnikit.contracts.streaming).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from omnikit.contracts.codes import Code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Generator, Tensor

    from omnikit.contracts.layout import InputLayout
    from omnikit.contracts.media import Medium
    from omnikit.contracts.types import Features, Reconstruction, Sample, Signal, Targets


class Encoder(Protocol):
    """nn.Module; features of a signal, at rest beyond `lengths`."""

    def __call__(self, signal: Signal) -> Features: ...


class Projector(Protocol):
    """nn.Module; features to features."""

    def __call__(self, features: Features) -> Features: ...


class FusionProjector(Protocol):
    """nn.Module; features of several encoders to one sequence of features."""

    def __call__(self, *features: Features) -> Features: ...


class InstructedProjector(Protocol):
    """nn.Module; features to features that depend on more than them, of a configuration with options."""

    def __call__(self, *features: Features, instructions: Targets = ..., media: Sequence[Medium] = ...) -> Features:
        """Features of a batch to its vectors.

        Args:
            features: of each encoder.
            instructions: with a `tokenizer`, the ids of each signal's message [B', U], its special tokens around them.
            media: with a `medium_length`, the media that the features belong to, one after another; one row is given for each.
        """


class Backbone(Protocol):
    """nn.Module around a causal language model.

    Source of the padding rule: rows are padded on the right in training and on the left in generation; `mask` is True = valid,
    and positions count valid tokens only.
    """

    def embed(self, tokens: Tensor) -> Tensor:
        """tokens [B, L] to vectors [B, L, D]."""

    def __call__(self, inputs: Tensor, mask: Tensor, documents: Tensor | None = None) -> Tensor:
        """inputs [B, L, D] and mask [B, L] bool to hidden [B, L, D] (after the final norm).

        `documents` [B, L] int64, on the host, come only where the configuration `packs`: the number of the conversation that
        each position belongs to, 0 for padding. A conversation attends to itself only, and its positions begin at 0.
        """

    def logits(self, hidden: Tensor) -> Tensor:
        """hidden [..., D] to logits [..., V]."""

    def init_state(self, batch: int) -> object: ...
    def step(self, inputs: Tensor, mask: Tensor, state: object) -> tuple[Tensor, object]:
        """New inputs [B, N, D] after what `state` holds; mask [B, past + N]; gives hidden [B, N, D]."""


class LayoutBackbone(Backbone, Protocol):
    """A backbone whose configuration states `takes_layout`: what its positions hold comes with them."""

    def __call__(self, inputs: Tensor, mask: Tensor, documents: Tensor | None = None, *,
                 layout: InputLayout | None = None) -> Tensor:
        """As Backbone.__call__; `layout` always comes."""

    def init_state(self, batch: int, layout: InputLayout | None = None) -> object:
        """Give the state of rows of this layout; the first step then takes their prompts as a whole."""


class Head(Protocol):
    """nn.Module; a loss for training and ids for inference."""

    def loss(self, features: Features, targets: Targets) -> Tensor:
        """Scalar float32, a mean over the targets of the batch; raises DataError where a target cannot be reached.

        What it is a mean over is the number of ids that are not padding, or what the configuration's `loss_count` gives.
        """

    def decode(self, features: Features) -> list[list[int]]:
        """Greedy ids of each row."""


class CodeHead(Protocol):
    """nn.Module; a head with target "codes": its targets are [B, U, Q], and it gives Q codes for each frame."""

    def loss(self, features: Features, targets: Targets) -> Tensor:
        """As Head.loss."""

    def decode(self, features: Features) -> list[list[Code]]:
        """Greedy codes of each row, frame by frame."""


class Codec(Protocol):
    """nn.Module; waves [N] float32 in [-1, 1] at spec.sample_rate, codes [T, Q] int64 (runs merged if the spec is)."""

    def encode(self, wave: Tensor) -> Tensor: ...
    def decode(self, codes: Tensor) -> Tensor: ...


class LabellingCodec(Codec, Protocol):
    """A codec that makes codes of waves and gives the one of each frame; a vocoder learns from it."""

    def label(self, wave: Tensor) -> Tensor:
        """Wave [N] to the codes of each frame [T, Q] int64, runs not merged; frame t begins at second t / spec.rate."""


class Vocoder(Codec, Protocol):
    """A codec that speaks codes and learns to by gradients (`objective: vocoder`)."""

    def generate(self, codes: Tensor) -> Tensor:
        """The codes of each frame [B, T, Q] to waves [B, T x samples of a frame]."""

    def log_durations(self, codes: Tensor, mask: Tensor) -> Tensor:
        """Merged codes [B, T, Q], mask [B, T] True = valid, to log(frames + 1) [B, T]; asked for where runs are merged only."""


class TrainableCodec(Codec, Protocol):
    """A codec that learns encoder, quantisers and decoder together by gradients (`objective: codec`); its configuration is a
    VocoderConfig.

    While it learns, it counts which codes were drawn and keeps some of the vectors they were drawn for, neither of which its
    weights file holds. What moving averages need to go on as they were is a part of its state.
    """

    def reconstruct(self, waves: Tensor, *, quantise: bool = True) -> Reconstruction:
        """Waves [B, N], N whole frames, through the codes and back, with gradients for all parts (straight through the codes).

        Without `quantise` vectors pass the quantisers unchanged: no codes, no losses. In training mode the codes are counted.
        """

    def usage(self) -> dict[str, float]:
        """Give the share of each codebook (or group of them) that was drawn since dead codes were looked for, by its name."""

    def revive(self, generator: Generator) -> int:
        """Give each dead code a recent vector of the encoder; give how many there were.

        A code is dead that was never drawn, though it would have been several times, were all codes of its codebook drawn
        equally often; until that can be said, draws are counted over several calls. Where nothing was coded since the last
        call, but vectors passed by, codes become clusters of these.
        """


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


class VAD(Protocol):
    """Probability of speech in one frame after another; conversations share it, what changes is in a state of named arrays."""

    def init_state(self) -> Mapping[str, NDArray[np.float32]]:
        """Give the state before the first frame."""

    def step(self, frame: NDArray[np.float32],
             state: Mapping[str, NDArray[np.float32]]) -> tuple[float, Mapping[str, NDArray[np.float32]]]:
        """Give the probability of speech in one frame and the state behind it; the given one stays as it was."""
