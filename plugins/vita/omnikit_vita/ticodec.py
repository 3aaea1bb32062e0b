"""Codec `ticodec`: sizes and contract. Uses no torch; `build` imports it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import TYPE_CHECKING, Literal

from omnikit.contracts.footprint import Footprint
from omnikit.contracts.specs import CodecSpec
from omnikit_vita.ticodec_footprint import footprint

if TYPE_CHECKING:
    from torch import nn

POSITIVE = ("codes", "dim", "groups", "levels", "channels", "encoder_channels", "global_dim", "global_groups", "global_codes",
            "global_hidden", "global_kernel", "sample_rate", "mel_hop", "chunk", "first_chunk", "quiet_window", "segment")


@dataclass(frozen=True)
class TiCodec:
    """Speech as one code per frame, beside a few tokens for all of it that say whose voice it is.

    The defaults are the sizes of VITA-1.5's codec: 24 kHz, 40 frames a second, 1024 codes.

    Args:
        codes: different codes of a codebook.
        dim: width of a frame between encoder and generator.
        groups: equal parts of a frame, each with codebooks of its own.
        levels: codebooks that code a part one after another, each what the one before left over.
        decay: codes are moving averages of the vectors they stand for, with this fraction of the past at each step; 0 lets
            them learn by gradients, as the original.
        channels: width after the generator's first convolution; halved by each upsampling.
        rates: upsampling of each step; their product is the samples of a frame.
        kernels: kernel of each upsampling; as even or odd as its rate.
        block_kernels: kernels of the parallel residual blocks; the encoder has them in reverse.
        block_dilations: dilations of each residual block.
        paired: a plain convolution follows each dilated one (ResBlock1 of HiFi-GAN); false: dilated ones alone.
        encoder_channels: width after the encoder's first convolution; doubled by each step.
        encoder_rates: what each step of the encoder divides the rate by; empty: `rates` in reverse.
        encoder_kernels: their kernels; empty: `kernels` in reverse.
        mel_bands: the encoder takes so many log-mel bands instead of the waveform; 0: the waveform, as the original.
        mel_hop: samples between two mel frames, of which each has a window of four.
        global_dim: width of the vector for the voice; it is taken where the encoder has that width and added where the
            generator has it (a generator that nowhere has it speaks without the vector, as the original's).
        global_groups: parts of that vector, one token for each.
        global_codes: different tokens of a part.
        global_hidden: width inside the layers of the voice encoder.
        global_kernel: their kernel.
        voice: tokens it speaks with; empty: the global_tokens beside `weights`, or the mean voice of its training, stored
            with the weights.
        sample_rate: samples per second.
        stream: "exact" decodes each code once, and the joined waveform is that of all codes; "overlap" is the original's way,
            which decodes overlapping chunks and cuts the waveform where it is quiet.
        chunk: codes of a chunk of "overlap", beside `padding`.
        first_chunk: the same for the first sentence. A sentence ends with the codes that are said to be the last, so all of an
            answer in `omnikit chat` is one.
        padding: codes on each side of a chunk that are decoded for the context only.
        quiet_window: samples of the window whose mean level finds quiet positions.
        quiet_threshold: mean amplitude below which a chunk is cut; a louder one waits for the next.
        first_threshold: the same for the first sentence.
        segment: frames that it is trained on at once.
        discriminator_dim: width of the discriminators of a stage with adversarial losses.
        weights: the published folder (model.json, final.pt) or its final.pt; None for random weights.

    Source: TiCodec, arXiv:2310.00014; VITA-1.5, arXiv:2501.01957; sizes: model.json of VITA-1.5's codec.
    """

    codes: int = 1024
    dim: int = 512
    groups: int = 1
    levels: int = 1
    decay: float = 0.0
    channels: int = 512
    rates: tuple[int, ...] = (8, 5, 5, 3)
    kernels: tuple[int, ...] = (16, 11, 11, 5)
    block_kernels: tuple[int, ...] = (3, 7, 11)
    block_dilations: tuple[tuple[int, ...], ...] = ((1, 3, 5), (1, 3, 5), (1, 3, 5))
    paired: bool = True
    encoder_channels: int = 32
    encoder_rates: tuple[int, ...] = ()
    encoder_kernels: tuple[int, ...] = ()
    mel_bands: int = 0
    mel_hop: int = 160
    global_dim: int = 128
    global_groups: int = 8
    global_codes: int = 1024
    global_hidden: int = 64
    global_kernel: int = 3
    voice: tuple[int, ...] = ()
    sample_rate: int = 24000
    stream: Literal["exact", "overlap"] = "exact"
    chunk: int = 40
    first_chunk: int = 20
    padding: int = 10
    quiet_window: int = 2401
    quiet_threshold: float = 0.015
    first_threshold: float = 0.1
    segment: int = 32
    discriminator_dim: int = 32
    weights: str | None = None

    def __post_init__(self) -> None:
        for name in POSITIVE:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, but must be at least 1")
        if self.discriminator_dim < 4 or self.discriminator_dim % 4:
            raise ValueError(f"discriminator_dim is {self.discriminator_dim}, but must be a multiple of 4")
        if not 0 <= self.decay < 1:
            raise ValueError(f"decay is {self.decay:g}, but must be at least 0 and below 1")
        if self.padding < 0 or self.mel_bands < 0:
            raise ValueError(f"padding is {self.padding} and mel_bands {self.mel_bands}, but neither may be below 0")
        if self.dim % self.groups or self.global_dim % self.global_groups:
            raise ValueError(f"dim is {self.dim} with {self.groups} groups and global_dim {self.global_dim} with"
                             f" {self.global_groups}, but each must be a multiple of its groups")
        self._check_steps("rates", self.rates, "kernels", self.kernels)
        self._check_steps("encoder_rates", self.down_rates, "encoder_kernels", self.down_kernels)
        self._check_blocks()
        self._check_encoder()
        self._check_voice()

    @property
    def hop(self) -> int:
        """Samples of a frame."""
        return prod(self.rates)

    @property
    def down_rates(self) -> tuple[int, ...]:
        """What each step of the encoder divides the rate by."""
        return self.encoder_rates or self.rates[::-1]

    @property
    def down_kernels(self) -> tuple[int, ...]:
        """Kernel of each step of the encoder."""
        return self.encoder_kernels or self.kernels[::-1]

    @property
    def spec(self) -> CodecSpec:
        """One codebook for each group and level."""
        return CodecSpec(self.sample_rate, Fraction(self.sample_rate, self.hop), self.groups * self.levels, self.codes)

    @property
    def encodes(self) -> bool:
        """Waveforms become codes."""
        return True

    @property
    def decodes(self) -> bool:
        """Codes become waveforms."""
        return True

    @property
    def objectives(self) -> tuple[str, ...]:
        """What stages can train it: `objective: codec`."""
        return ("codec",)

    @property
    def averages(self) -> bool:
        """Codes are moving averages, which no loss moves."""
        return self.decay > 0

    def footprint(self) -> Footprint:
        """Give how large it is; see omnikit_vita.ticodec_footprint."""
        return footprint(self)

    def build(self) -> nn.Module:
        """Give the module; raises ConfigError if the weights do not fit."""
        from omnikit_vita.ticodec_model import TiCodecModel

        return TiCodecModel(self)

    def _check_steps(self, word: str, rates: tuple[int, ...], other: str, kernels: tuple[int, ...]) -> None:
        if not rates or len(rates) != len(kernels):
            raise ValueError(f"{word} has {len(rates)} values and {other} {len(kernels)}, but each step needs one of both")
        for rate, kernel in zip(rates, kernels, strict=True):
            if rate < 1 or kernel < rate or (kernel - rate) % 2:
                raise ValueError(f"{other} has {kernel} where {word} has {rate}, but a kernel must be at least its rate, which"
                                 " is at least 1, and as even or odd")

    def _check_blocks(self) -> None:
        if not self.block_kernels or len(self.block_kernels) != len(self.block_dilations):
            raise ValueError(f"block_kernels has {len(self.block_kernels)} values and block_dilations"
                             f" {len(self.block_dilations)}, but each block needs one of both")
        if any(kernel < 1 or not kernel % 2 for kernel in self.block_kernels) or not self.global_kernel % 2:
            raise ValueError(f"block_kernels is {self.block_kernels} and global_kernel {self.global_kernel}, but both must be"
                             " odd, so that the audio keeps its length")
        if any(not dilations or min(dilations) < 1 for dilations in self.block_dilations):
            raise ValueError(f"block_dilations is {self.block_dilations}, but must hold numbers of at least 1")
        if self.channels % 2 ** len(self.rates):
            raise ValueError(f"channels is {self.channels}, but must be a multiple of {2 ** len(self.rates)} to be halved by"
                             f" {len(self.rates)} upsamplings")

    def _check_encoder(self) -> None:
        hop = prod(self.down_rates) * (self.mel_hop if self.mel_bands else 1)
        if hop != self.hop:
            raise ValueError(f"the encoder gives a frame for {hop} samples (encoder_rates {self.down_rates}"
                             f"{f', mel_hop {self.mel_hop}' if self.mel_bands else ''}), but the generator makes {self.hop} of"
                             " one; change either")
        widths = [self.encoder_channels * 2 ** step for step in range(1, len(self.down_rates) + 1)]
        if self.global_dim not in widths:
            raise ValueError(f"global_dim is {self.global_dim}, but the encoder's steps have the sizes {widths}; take one of"
                             " them")
        if uneven := [width for width in widths if width % max(width // 16, 1)]:
            raise ValueError(f"encoder_channels is {self.encoder_channels}, but a step of width {uneven[0]} cannot be normed in"
                             f" {uneven[0] // 16} equal groups; take a power of 2")

    def _check_voice(self) -> None:
        if self.voice and len(self.voice) != self.global_groups:
            raise ValueError(f"voice has {len(self.voice)} tokens, but must have one for each of {self.global_groups}"
                             " global_groups")
        if any(not 0 <= token < self.global_codes for token in self.voice):
            raise ValueError(f"voice is {self.voice}, but its tokens must be 0 to {self.global_codes - 1}")
