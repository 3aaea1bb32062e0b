"""Head `ctc_units` and codec `unit_hifigan`: sizes and contracts. Imports no torch; `build` imports it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, Literal

from omnikit.contracts.footprint import Footprint, Matrix, Saved, convolution, linear
from omnikit.contracts.specs import LATER, CodecSpec, FeatureSpec

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class CTCUnits:
    """Merged speech units from the backbone's hidden states, by CTC over copied states.

    Args:
        dim: width of its layers.
        layers: causal LLaMA layers of its own.
        heads: attention heads.
        ffn: width inside the feed-forward layers.
        factor: frames that each hidden state becomes.
        rms_eps: epsilon of the norms.
        rope_theta: base of the rotary frequencies; positions are frames.
        rope_factor: llama3 scaling of the low frequencies; None for no scaling.
        rope_low: llama3 scaling: wavelengths above rope_original / rope_low are scaled fully.
        rope_high: llama3 scaling: wavelengths below rope_original / rope_high are not scaled.
        rope_original: llama3 scaling: positions before it.
        repeat_position: add a learned vector for the place inside the copies of one state; the original has none.
        alignment: "predicts" takes the states that predicted the answer's tokens, "reads" those at the tokens.
        training_alignment: the states that the loss takes; None: those of `alignment`. The public code trains with "reads"
            and answers with "predicts".
        skip_unreachable: a row that has more units than its frames can give counts as a loss of 0, as in the original; false
            refuses it.

    Source: LLaMA-Omni, arXiv:2409.06666.
    """

    dim: int = 128
    layers: int = 2
    heads: int = 4
    ffn: int = 384
    factor: int = 25
    rms_eps: float = 1e-5
    rope_theta: float = 10000.0
    rope_factor: float | None = None
    rope_low: float = 1.0
    rope_high: float = 4.0
    rope_original: int = 8192
    repeat_position: bool = False
    alignment: Literal["predicts", "reads"] = "predicts"
    training_alignment: Literal["predicts", "reads"] | None = field(default=None, metadata=LATER)
    skip_unreachable: bool = field(default=False, metadata=LATER)

    def __post_init__(self) -> None:
        for name in ("dim", "layers", "heads", "ffn", "factor", "rope_original"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, but must be at least 1")
        if self.dim % (2 * self.heads):
            raise ValueError(f"dim is {self.dim}, but must be a multiple of 2 x heads ({2 * self.heads})")
        if self.rope_theta <= 0 or self.rms_eps <= 0:
            raise ValueError(f"rope_theta is {self.rope_theta} and rms_eps {self.rms_eps}, but both must be positive")
        if self.rope_factor is not None and not (self.rope_factor >= 1 and 0 < self.rope_low < self.rope_high):
            raise ValueError(f"rope_factor is {self.rope_factor} with rope_low {self.rope_low} and rope_high"
                             f" {self.rope_high}, but must be at least 1 with 0 < rope_low < rope_high")

    @property
    def tap(self) -> str:
        """It reads the hidden states after the backbone's final norm."""
        return "hidden"

    @property
    def target(self) -> str:
        """It learns the units of the answer's speech."""
        return "codes"

    def codes(self, codec: CodecSpec) -> str | None:
        """Say why this head cannot emit this codec's codes; None if it can."""
        if codec.codebooks != 1:
            return f"it emits one codebook, but the codec has {codec.codebooks}"
        if not codec.merged:
            return "it emits units with their runs merged, but the codec needs every frame"
        return None

    def unreachable(self, vectors: int, ids: Sequence[int]) -> str | None:
        """Say why CTC cannot give `ids` from so many states; a row with more units than frames is stretched to them."""
        if not vectors:
            return f"its speech is {len(ids)} units, but there is no hidden state to make them of; give its answer a text"
        frames, needed = max(self.factor * vectors, len(ids)), len(ids) + sum(one == other for one, other in pairwise(ids))
        return None if needed <= frames or self.skip_unreachable else (
            f"its speech is {len(ids)} units, which take {needed} frames, but {vectors} states give {self.factor * vectors};"
            " merge the runs of the units, or raise `factor`")

    def footprint(self, source: FeatureSpec, codec: CodecSpec | None, vocabulary: int) -> Footprint:
        """Give how large it is; a unit is a hidden state, of which `factor` frames are made."""
        dim, ffn, units = self.dim, self.ffn, codec.cardinality + 1 if codec else 1
        layer = 4 * dim**2 + 3 * dim * ffn + 2 * dim
        return Footprint(
            linear(source.dim, dim) + self.factor * dim * self.repeat_position + self.layers * layer + linear(dim, units),
            layers=self.layers, width=self.factor * dim, layer=Saved(2 * dim, 8 * dim + 4 * ffn).times(self.factor),
            outside=Saved(source.dim + dim + 3 * units, dim + units).times(self.factor),
            matrices=(Matrix(4 * self.layers, dim, dim), Matrix(2 * self.layers, dim, ffn), Matrix(self.layers, ffn, dim)))

    def build(self, source: FeatureSpec, codec: CodecSpec | None, vocabulary: int) -> nn.Module:
        """Give the module; the vocabulary of text does not matter to it."""
        from omnikit_llama_omni.model import CTCUnitHead

        if codec is None:
            raise ValueError("head ctc_units has no codec, but needs one beside it to know its units")
        return CTCUnitHead(self, source.dim, codec.cardinality)


@dataclass(frozen=True)
class UnitHiFiGAN:
    """Merged units to a waveform: embedding, duration predictor, HiFi-GAN generator. It does not encode.

    Args:
        units: different units.
        dim: width of a unit's embedding and of the generator's input.
        channels: width after the first convolution; halved by each upsampling.
        rates: upsampling of each step; their product is the samples of one unit frame.
        kernels: kernel of each upsampling.
        block_kernels: kernels of the parallel residual blocks.
        dilations: dilations inside each residual block.
        block_dilations: dilations of each residual block in turn, where they differ; empty: `dilations` for all.
        duration_dim: width inside the duration predictor, whose kernels are 3 (the original's padding allows no other);
            None for a vocoder without one, which speaks a frame for each unit.
        duration_dropout: fraction of its activations that are dropped while it is trained.
        sample_rate: samples per second of the waveform.
        segment: frames that it is trained on at once.
        discriminator_dim: width of the discriminators of a stage with adversarial losses.
        weights: file of a checkpoint, torch or safetensors; None for random weights.
        speakers: voices that it has, each an embedding beside the units' (`spkr` of its checkpoints); 0: one voice, and none.
        speaker: which of them speaks, from 0.

    Source: fairseq's CodeHiFiGANVocoder; HiFi-GAN, arXiv:2010.05646.
    """

    units: int = 100
    dim: int = 32
    channels: int = 64
    rates: tuple[int, ...] = (5, 4, 4, 2, 2)
    kernels: tuple[int, ...] = (11, 8, 8, 4, 4)
    block_kernels: tuple[int, ...] = (3, 7, 11)
    dilations: tuple[int, ...] = (1, 3, 5)
    block_dilations: tuple[tuple[int, ...], ...] = ()
    duration_dim: int | None = 32
    duration_dropout: float = 0.5  # the published one
    sample_rate: int = 16000
    segment: int = 28  # 8960 samples, as the published one
    discriminator_dim: int = 32
    weights: str | None = None
    speakers: int = field(default=0, metadata=LATER)
    speaker: int = field(default=0, metadata=LATER)

    def __post_init__(self) -> None:
        if self.speakers < 0 or not 0 <= self.speaker < max(1, self.speakers):
            has = f"0 to {self.speakers - 1}" if self.speakers > 0 else "one voice only"
            raise ValueError(f"speaker is {self.speaker} of speakers {self.speakers}, but the vocoder has {has}")
        for name in ("units", "dim", "channels", "duration_dim", "sample_rate", "segment"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}, but must be at least 1")
        if not 0 <= self.duration_dropout < 1:
            raise ValueError(f"duration_dropout is {self.duration_dropout}, but must be at least 0 and below 1")
        if self.discriminator_dim < 4 or self.discriminator_dim % 4:
            raise ValueError(f"discriminator_dim is {self.discriminator_dim}, but must be a multiple of 4")
        if not self.rates or len(self.rates) != len(self.kernels):
            raise ValueError(f"rates has {len(self.rates)} values and kernels {len(self.kernels)}, but each step needs"
                             " one of both")
        for rate, kernel in zip(self.rates, self.kernels, strict=True):
            if rate < 1 or kernel < rate or (kernel - rate) % 2:
                raise ValueError(f"kernels has {kernel} for rate {rate}, but must exceed it by an even number")
        if self.channels % 2 ** len(self.rates):
            raise ValueError(f"channels is {self.channels}, but must be a multiple of {2 ** len(self.rates)}:"
                             f" {len(self.rates)} steps halve it")
        if not self.block_kernels or any(k < 1 or k % 2 == 0 for k in self.block_kernels):
            raise ValueError(f"block_kernels is {self.block_kernels}, but must hold odd numbers")
        if not self.dilations or min(self.dilations) < 1:
            raise ValueError(f"dilations is {self.dilations}, but must hold numbers of at least 1")
        if self.block_dilations and len(self.block_dilations) != len(self.block_kernels):
            raise ValueError(f"block_dilations has {len(self.block_dilations)} values and block_kernels"
                             f" {len(self.block_kernels)}, but each block needs one of both")
        if any(not dilations or min(dilations) < 1 for dilations in self.block_dilations):
            raise ValueError(f"block_dilations is {self.block_dilations}, but must hold numbers of at least 1")

    @property
    def width(self) -> int:
        """Of the generator's input: a unit's embedding, and the speaker's beside it."""
        return 2 * self.dim if self.speakers else self.dim

    @property
    def blocks(self) -> tuple[tuple[int, tuple[int, ...]], ...]:
        """Kernel and dilations of each parallel residual block."""
        dilations = self.block_dilations or (self.dilations,) * len(self.block_kernels)
        return tuple(zip(self.block_kernels, dilations, strict=True))

    @property
    def spec(self) -> CodecSpec:
        """One codebook; runs are merged where there is a duration predictor."""
        return CodecSpec(self.sample_rate, Fraction(self.sample_rate, prod(self.rates)), 1, self.units,
                         merged=self.duration_dim is not None)

    @property
    def encodes(self) -> bool:
        """Units come from elsewhere (mHuBERT and k-means)."""
        return False

    @property
    def decodes(self) -> bool:
        """It is a vocoder."""
        return True

    @property
    def objectives(self) -> tuple[str, ...]:
        """What stages can train it: `objective: vocoder`."""
        return ("vocoder",)

    def footprint(self) -> Footprint:
        """Give how large it is; a unit is a frame that it speaks."""
        wide, inner = self.duration_dim or 0, generator(self.width, self.channels, self.rates, self.kernels, self.blocks)
        durations = convolution(self.dim, wide, 3) + convolution(wide, wide, 3) + 4 * wide + linear(wide, 1) if wide else 0
        return Footprint((self.units + self.speakers) * self.dim + inner.parameters + durations, outside=inner.outside)

    def build(self) -> nn.Module:
        """Give the module; raises ConfigError if the weights do not fit."""
        from omnikit_llama_omni.vocoder import UnitVocoder

        return UnitVocoder(self)


def generator(dim: int, channels: int, rates: Sequence[int], kernels: Sequence[int],
              blocks: Sequence[tuple[int, Sequence[int]]]) -> Footprint:
    """Give how large HiFi-GAN's generator is, every convolution with weight norm; a unit is a frame."""
    parameters, saved, samples, wide = convolution(dim, channels, 7, normed=True), 2.0 * channels, 1, channels
    for rate, kernel in zip(rates, kernels, strict=True):
        narrow = wide // 2
        parameters += wide * narrow * kernel + narrow + wide
        parameters += sum(2 * len(dilations) * convolution(narrow, narrow, width, normed=True) for width, dilations in blocks)
        samples *= rate
        saved += samples * narrow * (2 + sum(1 + 4 * len(dilations) for _, dilations in blocks))
        wide = narrow
    return Footprint(parameters + convolution(wide, 1, 7, normed=True), outside=Saved(0, saved + 2 * samples))
