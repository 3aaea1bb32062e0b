"""Codecs `mimi` and `dac`: sizes and contracts. Imports neither torch nor transformers."""

from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import TYPE_CHECKING

from omnikit.contracts.footprint import Footprint, convolution, linear
from omnikit.contracts.specs import CodecSpec

if TYPE_CHECKING:
    from omnikit_hf_codecs.model import DacCodec, MimiCodec

MIMI_RATE, MIMI_RATIOS = 24000, (8, 6, 5, 4)  # kyutai/mimi config.json
MIMI_HOP = 2 * prod(MIMI_RATIOS)  # samples of a frame: the encoder's 25 Hz are halved
MIMI_CODEBOOKS = 32  # of the published model, whose first is semantic
KERNEL, LAST_KERNEL, RESIDUAL_KERNEL = 7, 3, 3


@dataclass(frozen=True)
class Mimi:
    """Residual codes of Kyutai's Mimi: 24 kHz, 12.5 frames a second, the first codebook semantic. Source: arXiv:2410.00037.

    Args:
        codebooks: how many of the 32 are used; Moshi has 8.
        cardinality: codes of a codebook.
        codebook_dim: width of a codebook's vectors.
        width: channels after the first convolution.
        dim: width of the transformers.
        layers: of each of the two transformers.
        window: positions, at 25 Hz, that a position of the transformers attends to.
        weights: folder that transformers' save_pretrained wrote; None for random weights.
        segment: frames that it is trained on at once.
        discriminator_dim: width of the discriminators of a stage with adversarial losses.
    """

    codebooks: int = 8
    cardinality: int = 2048
    codebook_dim: int = 256
    width: int = 64
    dim: int = 512
    layers: int = 8
    heads: int = 8
    ffn: int = 2048
    window: int = 250
    weights: str | None = None
    segment: int = 12
    discriminator_dim: int = 32

    def __post_init__(self) -> None:
        _powers_of_two(cardinality=self.cardinality)
        _trained(self.segment, self.discriminator_dim)
        _at_least(1, codebook_dim=self.codebook_dim, width=self.width, layers=self.layers, heads=self.heads, ffn=self.ffn,
                  window=self.window)
        if not 2 <= self.codebooks <= MIMI_CODEBOOKS:
            raise ValueError(f"codebooks is {self.codebooks}, but must be 2 to {MIMI_CODEBOOKS}: one semantic and the others")
        if self.dim % (2 * self.heads):
            raise ValueError(f"dim is {self.dim}, but must be a multiple of twice the heads, {2 * self.heads}")

    @property
    def spec(self) -> CodecSpec:
        return CodecSpec(MIMI_RATE, Fraction(MIMI_RATE, MIMI_HOP), self.codebooks, self.cardinality)

    @property
    def encodes(self) -> bool:
        return True

    @property
    def decodes(self) -> bool:
        return True

    @property
    def objectives(self) -> tuple[str, ...]:
        """What stages can train it: `objective: codec`."""
        return ("codec",)

    @property
    def averages(self) -> bool:
        """Codes are moving averages, which no loss moves."""
        return True

    def footprint(self) -> Footprint:
        """Give how large encoder and decoder are; codebooks are no parameters."""
        wide, total = self.width, convolution(1, self.width, KERNEL) + convolution(self.width, 1, LAST_KERNEL)
        for ratio in reversed(MIMI_RATIOS):
            block = convolution(wide, wide // 2, RESIDUAL_KERNEL) + convolution(wide // 2, wide, 1)
            total += 2 * block + convolution(wide, 2 * wide, 2 * ratio) + convolution(2 * wide, wide, 2 * ratio)
            wide *= 2
        total += convolution(wide, self.dim, LAST_KERNEL) + convolution(self.dim, wide, KERNEL)
        total += 4 * self.dim * self.dim + 4 * self.dim  # halving convolution and doubling one, without biases
        layer = 4 * self.dim**2 + 2 * self.dim * self.ffn + 4 * self.dim + 2 * self.dim  # two norms, two scales
        return Footprint(total + 2 * self.layers * layer + 2 * 2 * self.dim * self.codebook_dim)

    def build(self) -> "MimiCodec":
        """Give the module; raises ConfigError if the weights do not fit."""
        from omnikit_hf_codecs.model import MimiCodec

        return MimiCodec(self)


@dataclass(frozen=True)
class Dac:
    """Residual codes of the Descript Audio Codec. Source: arXiv:2306.06546.

    Args:
        sample_rate: 16000, 24000 or 44100 in the published models.
        codebooks: of the model.
        use_codebooks: how many of them are used, the first ones; 0: all.
        cardinality: codes of a codebook.
        codebook_dim: width of a codebook's vectors.
        ratios: of the encoder's strides; their product is the samples of a frame.
        width: channels after the encoder's first convolution.
        decoder_width: channels after the decoder's first convolution.
        weights: folder that transformers' save_pretrained wrote; None for random weights.
        segment: frames that it is trained on at once.
        discriminator_dim: width of the discriminators of a stage with adversarial losses.
    """

    sample_rate: int = 44100
    codebooks: int = 9
    use_codebooks: int = 0
    cardinality: int = 1024
    codebook_dim: int = 8
    ratios: tuple[int, ...] = (2, 4, 8, 8)
    width: int = 8
    decoder_width: int = 96
    weights: str | None = None
    segment: int = 32
    discriminator_dim: int = 32

    def __post_init__(self) -> None:
        _powers_of_two(cardinality=self.cardinality)
        _trained(self.segment, self.discriminator_dim)
        _at_least(1, sample_rate=self.sample_rate, codebooks=self.codebooks, codebook_dim=self.codebook_dim, width=self.width,
                  decoder_width=self.decoder_width, **{f"ratios[{at}]": ratio for at, ratio in enumerate(self.ratios)})
        if not 0 <= self.use_codebooks <= self.codebooks:
            raise ValueError(f"use_codebooks is {self.use_codebooks}, but must be 0 (all) to {self.codebooks}, those it has")
        if self.decoder_width % 2 ** len(self.ratios):
            raise ValueError(f"decoder_width is {self.decoder_width}, but must be a multiple of {2 ** len(self.ratios)}, as it"
                             f" is halved for each of the {len(self.ratios)} ratios")

    @property
    def hop(self) -> int:
        """Samples of a frame."""
        return prod(self.ratios)

    @property
    def spec(self) -> CodecSpec:
        return CodecSpec(self.sample_rate, Fraction(self.sample_rate, self.hop), self.use_codebooks or self.codebooks,
                         self.cardinality)

    @property
    def encodes(self) -> bool:
        return True

    @property
    def decodes(self) -> bool:
        return True

    @property
    def objectives(self) -> tuple[str, ...]:
        """What stages can train it: `objective: codec`."""
        return ("codec",)

    @property
    def averages(self) -> bool:
        """Codes learn by gradients."""
        return False

    def footprint(self) -> Footprint:
        """Give how large encoder, decoder and codebooks are."""
        wide, total = self.width, convolution(1, self.width, 7)
        for ratio in self.ratios:
            total += _residuals(wide) + wide + convolution(wide, 2 * wide, 2 * ratio)
            wide *= 2
        total += wide + convolution(wide, wide, 3)
        total += self.codebooks * (linear(wide, self.codebook_dim) + linear(self.codebook_dim, wide)
                                   + self.cardinality * self.codebook_dim)
        deep = self.decoder_width
        total += convolution(wide, deep, 7)
        for ratio in reversed(self.ratios):
            total += deep + convolution(deep, deep // 2, 2 * ratio) + _residuals(deep // 2)
            deep //= 2
        return Footprint(total + deep + convolution(deep, 1, 7))

    def build(self) -> "DacCodec":
        """Give the module; raises ConfigError if the weights do not fit."""
        from omnikit_hf_codecs.model import DacCodec

        return DacCodec(self)


def _residuals(width: int) -> int:
    """Give the parameters of three residual units, whose activations have one for each channel."""
    return 3 * (2 * width + convolution(width, width, 7) + convolution(width, width, 1))


def _at_least(least: int, **values: int) -> None:
    for name, value in values.items():
        if value < least:
            raise ValueError(f"{name} is {value}, but must be at least {least}")


def _trained(segment: int, discriminator_dim: int) -> None:
    _at_least(1, segment=segment)
    if discriminator_dim < 4 or discriminator_dim % 4:
        raise ValueError(f"discriminator_dim is {discriminator_dim}, but must be a multiple of 4")


def _powers_of_two(**values: int) -> None:
    for name, value in values.items():
        if value < 2 or value & (value - 1):
            raise ValueError(f"{name} is {value}, but must be a power of two")
