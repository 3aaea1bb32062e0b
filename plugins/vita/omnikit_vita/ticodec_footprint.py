"""How large TiCodec is, counted by formula: encoder, codebooks, generator. Imports no torch; a unit is a frame."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Protocol

from omnikit.contracts.footprint import Footprint, Saved, convolution, linear


class TiCodecSizes(Protocol):
    """What is read of the configuration."""

    @property
    def codes(self) -> int: ...
    @property
    def dim(self) -> int: ...
    @property
    def levels(self) -> int: ...
    @property
    def channels(self) -> int: ...
    @property
    def rates(self) -> tuple[int, ...]: ...
    @property
    def kernels(self) -> tuple[int, ...]: ...
    @property
    def down_rates(self) -> tuple[int, ...]: ...
    @property
    def down_kernels(self) -> tuple[int, ...]: ...
    @property
    def block_kernels(self) -> tuple[int, ...]: ...
    @property
    def block_dilations(self) -> tuple[tuple[int, ...], ...]: ...
    @property
    def paired(self) -> bool: ...
    @property
    def encoder_channels(self) -> int: ...
    @property
    def mel_bands(self) -> int: ...
    @property
    def global_dim(self) -> int: ...
    @property
    def global_codes(self) -> int: ...
    @property
    def global_hidden(self) -> int: ...
    @property
    def global_kernel(self) -> int: ...


def footprint(config: TiCodecSizes) -> Footprint:
    """Give parameters and what is kept of a frame by encoder and generator."""
    encoder, generator = _encoder(config), _generator(config)
    books = config.codes * config.dim * config.levels + config.global_codes * config.global_dim
    saved = Saved(0, encoder.outside.narrow + generator.outside.narrow)
    return Footprint(encoder.parameters + books + generator.parameters, outside=saved)


def _encoder(config: TiCodecSizes) -> Footprint:
    wide = config.encoder_channels
    positions = float(prod(config.down_rates))  # of a frame
    parameters, saved = convolution(config.mel_bands or 1, wide, 7, normed=True), 2 * positions * wide
    for rate, kernel in zip(config.down_rates, config.down_kernels, strict=True):
        positions /= rate
        parameters += convolution(wide, 2 * wide, kernel, normed=True)
        wide *= 2
        parameters += _blocks(config, wide) + 2 * wide * len(config.block_kernels)
        saved += positions * wide * (_values(config) + 2 * len(config.block_kernels))
    voice, hidden, kernel = config.global_dim, config.global_hidden, config.global_kernel
    parameters += kernel * (2 * voice * hidden + hidden**2) + linear(voice, voice) + 2 * voice
    return Footprint(parameters + convolution(wide, config.dim, 3), outside=Saved(0, saved))


def _generator(config: TiCodecSizes) -> Footprint:
    wide, positions = config.channels, 1
    parameters, saved = convolution(config.dim, wide, 7, normed=True), 2.0 * wide
    for rate, kernel in zip(config.rates, config.kernels, strict=True):
        narrow = wide // 2
        parameters += wide * narrow * kernel + narrow + wide + _blocks(config, narrow)
        positions *= rate
        saved += positions * narrow * _values(config)
        wide = narrow
    return Footprint(parameters + convolution(wide, 1, 7, normed=True), outside=Saved(0, saved + 2 * positions))


def _blocks(config: TiCodecSizes, width: int) -> int:
    kinds: Sequence[tuple[int, tuple[int, ...]]] = list(zip(config.block_kernels, config.block_dilations, strict=True))
    return sum((1 + config.paired) * len(dilations) * convolution(width, width, kernel, normed=True)
               for kernel, dilations in kinds)


def _values(config: TiCodecSizes) -> int:
    """Give the values that an upsampling and its blocks keep, as multiples of its width."""
    return 2 + sum(1 + (2 + 2 * config.paired) * len(dilations) for dilations in config.block_dilations)
