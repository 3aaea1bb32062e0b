"""An audio encoder with every number known: its checks, and the exact number of its features. Light."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from omnikit.contracts.specs import FeatureSpec
from omnikit.errors import DataError
from omnikit_hf_audio.families import ON_WAVEFORMS

if TYPE_CHECKING:
    from omnikit_hf_audio.config import HfAudio

SAMPLE_RATE = 16000  # Hz, of every one of them
FRAME, HOP = 400, 160  # samples of a mel frame and between two of them, likewise
MEL_STRIDE = 2  # mel frames that W2V-BERT joins to one, and that Whisper's convolutions halve
TOKENS = 2  # before AST's patches: class and distillation


@dataclass(frozen=True)
class Encoder:
    """The fields of HfAudio of the same names, settled: what a family does not have is 0, empty or False."""

    family: str
    dim: int
    layers: int
    heads: int
    ffn: int
    activation: str
    eps: float
    conv_dim: tuple[int, ...]
    kernels: tuple[int, ...]
    strides: tuple[int, ...]
    conv_norm: str
    conv_bias: bool
    stable: bool
    position_kernel: int
    position_groups: int
    buckets: int
    bucket_distance: int
    depthwise_kernel: int
    left_positions: int
    right_positions: int
    mel_bins: int
    positions: int
    patch: int
    frequency_stride: int
    time_stride: int
    frames: int
    normalize: bool
    mean: float
    deviation: float
    feature_layers: tuple[int, ...]
    final_norm: bool
    class_token: bool
    dropout: float

    @classmethod
    def of(cls, config: HfAudio) -> Encoder:
        """Take the fields of a configuration."""
        empty: dict[str, Any] = {"int": 0, "float": 0.0, "bool": False, "str": "", "tuple[int, ...]": ()}
        found = {item.name: getattr(config, item.name) for item in fields(cls)}
        return cls(**{item.name: empty[str(item.type)] if found[item.name] is None else found[item.name]
                      for item in fields(cls)})

    @property
    def chosen(self) -> tuple[int, ...]:
        """`feature_layers`, counted from what enters the first layer, 0."""
        return tuple(index if index >= 0 else self.layers + 1 + index for index in self.feature_layers)

    @property
    def depth(self) -> int:
        """Layers that are built: up to the last chosen one."""
        return max(self.chosen)

    @property
    def closes(self) -> bool:
        """Whether a norm stands behind the last layer and is applied."""
        closing = self.stable if self.family in ON_WAVEFORMS else self.family in ("whisper", "ast")
        return closing and self.final_norm and self.depth == self.layers

    @property
    def output(self) -> FeatureSpec:
        """What comes out."""
        width = self.dim * len(self.chosen)
        if self.window:
            return FeatureSpec(width, count=self.length(1), lookahead=math.inf)
        return FeatureSpec(width, rate=Fraction(SAMPLE_RATE, self.step), lookahead=math.inf)

    @property
    def step(self) -> int:
        """Samples from one feature to the next."""
        return math.prod(self.strides) if self.family in ON_WAVEFORMS else HOP * MEL_STRIDE

    @property
    def window(self) -> int:
        """Samples that every clip is padded with silence or cut to; 0: clips have their own length."""
        if self.family == "whisper":
            return self.positions * self.step
        return FRAME + HOP * (self.frames - 1) if self.family == "ast" else 0

    @property
    def patches(self) -> tuple[int, int]:
        """AST's patches over frequency and over time."""
        return ((self.mel_bins - self.patch) // self.frequency_stride + 1, (self.frames - self.patch) // self.time_stride + 1)

    @property
    def shortest(self) -> int:
        """Samples of a clip with one feature."""
        if self.window:
            return 1
        if self.family == "w2v_bert":
            return FRAME + HOP
        samples = 1
        for kernel, stride in zip(reversed(self.kernels), reversed(self.strides), strict=True):
            samples = (samples - 1) * stride + kernel
        return samples

    def length(self, samples: int) -> int:
        """Give the exact number of features of a clip; raises DataError if it is too short for one."""
        if samples < self.shortest:
            raise DataError(f"A clip has {samples} samples, but hf_audio's {self.family} needs at least {self.shortest}; leave"
                            " the row out or give a longer clip.")
        if self.family == "whisper":
            return self.positions
        if self.family == "ast":
            return math.prod(self.patches) + TOKENS * self.class_token
        if self.family == "w2v_bert":  # a last frame without its partner is dropped: transformers masks it
            return ((samples - FRAME) // HOP + 1) // MEL_STRIDE
        for kernel, stride in zip(self.kernels, self.strides, strict=True):
            samples = (samples - kernel) // stride + 1
        return samples

    def check(self) -> None:
        """Raise ValueError where the numbers do not fit together."""
        for name in ("dim", "layers", "heads", "ffn", *self._positive()):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, but must be at least 1")
        parts = [("heads", self.heads)] + [("position_groups", self.position_groups)] * (self.family in ON_WAVEFORMS)
        for name, number in parts:
            if self.dim % number:
                raise ValueError(f"{name} is {number}, but must divide dim, which is {self.dim}")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout is {self.dropout}, but must be at least 0 and below 1")
        self._check_layers()
        self._check_family()

    def _positive(self) -> tuple[str, ...]:
        return {"whisper": ("mel_bins", "positions"), "ast": ("mel_bins", "frames", "patch", "frequency_stride", "time_stride"),
                "w2v_bert": ("depthwise_kernel",)}.get(self.family, ("position_kernel", "position_groups"))

    def _check_layers(self) -> None:
        if not self.feature_layers or len(set(self.chosen)) < len(self.chosen):
            raise ValueError(f"feature_layers is {list(self.feature_layers)}, but must name at least one layer, and each once")
        if min(self.chosen) < 0 or self.depth > self.layers or self.depth == 0:
            raise ValueError(f"feature_layers is {list(self.feature_layers)}, but must be from 1 to {self.layers}, or from"
                             f" -{self.layers} to -1, which counts from the end; 0 stands for what enters the first layer,"
                             " beside another one")
        if self.class_token and self.family != "ast":
            raise ValueError(f"class_token is true, but encoders of family {self.family} have none")

    def _check_family(self) -> None:
        if self.family in ON_WAVEFORMS:
            counts = {len(self.conv_dim), len(self.kernels), len(self.strides)}
            if len(counts) > 1 or not self.kernels or min(*self.conv_dim, *self.kernels, *self.strides) < 1:
                raise ValueError(f"conv_dim is {list(self.conv_dim)}, kernels {list(self.kernels)} and strides"
                                 f" {list(self.strides)}, but each needs one number of at least 1 for each convolution")
            if self.conv_norm not in ("group", "layer"):
                raise ValueError(f"conv_norm is {self.conv_norm!r}, but must be group or layer")
        if self.family == "w2v_bert" and self.depthwise_kernel % 2 == 0:
            raise ValueError(f"depthwise_kernel is {self.depthwise_kernel}, but must be odd")
        if self.family == "ast" and min(self.patches) < 1:
            raise ValueError(f"patch is {self.patch}, but must be at most mel_bins, {self.mel_bins}, and frames, {self.frames}")
