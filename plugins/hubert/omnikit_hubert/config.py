"""Codec `hubert_units`: sizes and contract. Imports no torch; `build` imports it."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from omnikit.contracts.footprint import Footprint, linear
from omnikit.contracts.specs import LATER, CodecSpec

if TYPE_CHECKING:
    from torch import nn

RATE = 16000  # Hz, of every HuBERT
POSITIVE = ("units", "dim", "layers", "heads", "ffn", "conv_dim", "position_kernel", "position_groups", "iterations", "chunk")
IMPORTS = 46 * 2**20  # bytes of transformers' modelling code in a process
CENTROIDS = (".npy", ".safetensors")
CONVERT = ("""python -c 'import joblib, numpy; numpy.save("centroids.npy", joblib.load("FILE").cluster_centers_)'""")


@dataclass(frozen=True)
class HubertUnits:
    """K-means units over one layer of HuBERT, runs merged. It makes units and cannot speak them: a vocoder does.

    Frames are 20 ms with the default strides; a waveform of N samples has (N - 400) / 320 + 1 of them, rounded down.

    Args:
        units: different units (centroids).
        weights: folder of a transformers HuBERT checkpoint (config.json, model.safetensors); None for random weights.
        weights_prefix: what a wrapper around the model put before the names of these weights; tensors without it are left out.
        centroids: file with the centroids [units, dim], .npy or .safetensors; None to fit them in a stage.
        layer: transformer layer whose output is clustered; 0 is what enters the first one.
        normalize: bring each waveform to mean 0 and variance 1 first; as the checkpoint was trained.
        dim: width of a vector.
        layers: transformer layers.
        heads: attention heads.
        ffn: width inside the feed-forward layers.
        stable: layer norms stand before attention and feed-forward (the large models), not after.
        conv_dim: width of the convolutions on the waveform.
        kernels: kernel of each of these convolutions.
        strides: their strides; the product is the samples of one frame.
        conv_norm: "group" norms the first convolution alone, "layer" each of them.
        conv_bias: the convolutions have biases.
        position_kernel: kernel of the convolution that encodes positions.
        position_groups: its groups.
        chunk: samples that are looked at together; what is longer is cut, as in the original reader.
        iterations: rounds of k-means.
        frames: at most so many frames are clustered, from waveforms drawn at random.

    Source: HuBERT, arXiv:2106.07447; units as in fairseq's speech-to-speech examples.
    """

    units: int = 100
    weights: str | None = None
    centroids: str | None = None
    layer: int = 2
    normalize: bool = False
    dim: int = 32
    layers: int = 2
    heads: int = 4
    ffn: int = 64
    stable: bool = False
    conv_dim: int = 32
    kernels: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    strides: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    conv_norm: Literal["group", "layer"] = "group"
    conv_bias: bool = False
    position_kernel: int = 16
    position_groups: int = 4
    chunk: int = 1600000
    iterations: int = 25
    frames: int = 30000
    weights_prefix: str = field(default="", metadata=LATER)

    def __post_init__(self) -> None:
        for name in POSITIVE:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, but must be at least 1")
        if not 0 <= self.layer <= self.layers:
            raise ValueError(f"layer is {self.layer}, but must be between 0 and layers ({self.layers})")
        for name, parts in (("heads", self.heads), ("position_groups", self.position_groups)):
            if self.dim % parts:
                raise ValueError(f"dim is {self.dim}, but must be a multiple of {name} ({parts})")
        if not self.kernels or len(self.kernels) != len(self.strides) or min(*self.kernels, *self.strides) < 1:
            raise ValueError(f"kernels is {self.kernels} and strides {self.strides}, but both need one number of at least 1"
                             " for each convolution")
        if self.frames < self.units:
            raise ValueError(f"frames is {self.frames}, but must be at least units ({self.units})")
        if self.length(self.chunk) < 1:
            raise ValueError(f"chunk is {self.chunk}, but must hold at least one frame")
        if self.centroids is not None and Path(self.centroids).suffix not in CENTROIDS:
            raise ValueError(f"centroids is {self.centroids!r}, but must be a .npy or .safetensors file, because reading a"
                             f" pickle or joblib file may run code; where you trust it, convert it once with {CONVERT}")

    @property
    def spec(self) -> CodecSpec:
        """One codebook, runs merged."""
        return CodecSpec(RATE, Fraction(RATE, prod(self.strides)), 1, self.units, merged=True)

    @property
    def encodes(self) -> bool:
        """Waveforms become units."""
        return True

    @property
    def decodes(self) -> bool:
        """Units are spoken by a vocoder."""
        return False

    @property
    def objectives(self) -> tuple[str, ...]:
        """What stages can fit it: `objective: units`, unless the centroids come from a file."""
        return () if self.centroids else ("units",)

    def length(self, samples: int) -> int:
        """Give the frames of a waveform no longer than a chunk."""
        for kernel, stride in zip(self.kernels, self.strides, strict=True):
            samples = max(0, (samples - kernel) // stride + 1)
        return samples

    def footprint(self) -> Footprint:
        """Give how large it is up to the layer that is read; nothing of it is ever trained."""
        dim, wide, count = self.dim, self.conv_dim, len(self.kernels)
        first = wide * sum((wide if index else 1) * kernel for index, kernel in enumerate(self.kernels))
        first += wide * count * self.conv_bias + 2 * wide * (count if self.conv_norm == "layer" else 1)
        positions = dim // self.position_groups * dim * self.position_kernel + self.position_kernel + dim
        layer = 4 * linear(dim, dim) + linear(dim, self.ffn) + linear(self.ffn, dim) + 4 * dim
        layers = max(1, self.layer) * layer
        return Footprint(first + 2 * wide + linear(wide, dim) + positions + 2 * dim + layers, imports=IMPORTS)

    def build(self) -> nn.Module:
        """Give the module; raises ConfigError if weights or centroids cannot be read or do not fit."""
        from omnikit_hubert.model import HubertUnitCodec

        return HubertUnitCodec(self)
