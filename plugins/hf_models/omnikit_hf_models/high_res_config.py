"""The tower for high resolution of a DeepSeek-VL hybrid, by its configuration. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from omnikit.contracts.footprint import Footprint, Matrix, Saved, convolution, linear
from omnikit.contracts.specs import FeatureSpec, ImageSpec, SignalSpec
from omnikit_hf_models.config import number
from omnikit_hf_models.footprints import IMPORTS

if TYPE_CHECKING:
    from torch import nn

SIZES = ("hidden_size", "image_size", "patch_size", "output_channels", "num_hidden_layers", "num_attention_heads",
         "window_size", "mlp_dim")
FIXED = {"use_abs_pos": True, "use_rel_pos": True, "qkv_bias": True}
TINY: dict[str, object] = {
    "model_type": "sam_vision_model", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "mlp_dim": 64,
    "image_size": 64, "patch_size": 16, "window_size": 2, "output_channels": 8, "global_attn_indexes": [1],
    "initializer_range": 0.02}


@dataclass(frozen=True)
class HFHighResTower:
    """SAM's image encoder, resized and narrowed to the grid of a second tower, and a share of its first global layer beside it.

    Both pass 3 x 3 convolutions of stride 2; how much of the second is added is learned. Source: DeepSeek-VL, arXiv:2403.05525,
    by transformers' class of the hybrid.

    Args:
        config: of SAM's encoder, as the high_res_vision_config of a folder.
        side: features along a side, those of the other tower.
        resample: filter that resizes images, see ImageSpec.
        mean: of red, green and blue, with which images are padded to squares too.
        deviation: of red, green and blue.
        fit: how an image becomes a square, see ImageSpec.
    """

    config: dict[str, object] = field(default_factory=lambda: dict(TINY))
    side: int = 4
    resample: str = "bicubic"
    mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073)
    deviation: tuple[float, float, float] = (0.26862954, 0.26130258, 0.27577711)
    fit: Literal["crop", "pad", "stretch", "corner"] = "pad"

    def __post_init__(self) -> None:
        if self.config.get("model_type") != "sam_vision_model":
            raise ValueError(f"config.model_type is {self.config.get('model_type')!r}, but must be sam_vision_model")
        for key in SIZES:
            number(self.config, key)
        for key, only in FIXED.items():
            if self.config.get(key, only) != only:
                raise ValueError(f"config.{key} is {self.config[key]!r}, but must be {only!r}")
        if not self.global_layers:
            raise ValueError("config.global_attn_indexes is empty, but features of the first global layer are added")
        if self.side < 1:
            raise ValueError(f"side is {self.side}, but must be at least 1")
        assert self.image_spec  # its fields are refused here, not when it is first asked for

    @property
    def global_layers(self) -> tuple[int, ...]:
        """Layers, from 0, that attend to the whole image."""
        found = self.config.get("global_attn_indexes")
        return tuple(found) if isinstance(found, list | tuple) else ()

    @property
    def input(self) -> SignalSpec:
        size = number(self.config, "image_size")
        return SignalSpec("image", None, (3, size, size))

    @property
    def output(self) -> FeatureSpec:
        return FeatureSpec(4 * number(self.config, "output_channels"), count=self.length(1))

    @property
    def image_spec(self) -> ImageSpec:
        return ImageSpec(number(self.config, "image_size"), self.mean, self.deviation, self.fit, resample=self.resample,
                         most_tiles=0)

    def length(self, items: int) -> int:
        """Give the features of an image."""
        return self.side**2

    def footprint(self) -> Footprint:
        """Give how large it is."""
        return _footprint(self.config, self.global_layers, self.side)

    def build(self) -> nn.Module:
        from omnikit_hf_models.high_res_tower import HighResTower

        return HighResTower(self)


def _footprint(config: Mapping[str, object], global_layers: tuple[int, ...], side: int) -> Footprint:
    dim, size, patch, channels, layers, heads, window, ffn = (number(config, key) for key in SIZES)
    grid = size // patch
    layer = 4 * dim + linear(dim, 3 * dim) + linear(dim, dim) + linear(dim, ffn) + linear(ffn, dim)
    positions = sum(2 * (2 * (grid if index in global_layers else window) - 1) * (dim // heads) for index in range(layers))
    neck = dim * channels + 9 * channels**2 + 4 * channels
    narrowing = 9 * channels * 2 * channels + 9 * 2 * channels * 4 * channels
    share = (grid / side) ** 2  # patches of SAM for each feature
    total = convolution(3, dim, patch**2) + grid**2 * dim + layers * layer + positions + 2 * neck + narrowing + 1
    matrices = (Matrix(layers, dim, 3 * dim), Matrix(layers, dim, dim), Matrix(layers, dim, ffn), Matrix(layers, ffn, dim))
    return Footprint(total, layers, share * dim, Saved(2 * dim, 8 * dim + 2 * ffn).times(share),
                     Saved(3 * patch**2 + 2 * dim).times(share), matrices=matrices, imports=IMPORTS)
