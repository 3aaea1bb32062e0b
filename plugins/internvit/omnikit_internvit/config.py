"""The settings and contract of InternViT. Imports no torch."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from omnikit.contracts.footprint import Footprint, Matrix, Saved, convolution, linear
from omnikit.contracts.specs import LATER, FeatureSpec, ImageSpec, SignalSpec
from omnikit_internvit.folder import folder_fields

if TYPE_CHECKING:
    from collections.abc import Mapping

    from omnikit.contracts.folders import FolderValue
    from omnikit_internvit.model import InternVitEncoder

SHUFFLE = 2  # neighbours on each side that pixel shuffle joins into one vector: InternVL's scale factor 0.5


@dataclass(frozen=True)
class InternVit:
    """InternViT and pixel shuffle: a tile in, a quarter of its patches out, each vector four patches wide.

    Its build is that of InternViT-300M-448px as VITA-1.5 uses it: pre-norm, no norm at the end, learned positions.
    Source: arXiv:2312.14238, arXiv:2404.16821 (pixel shuffle).

    Args:
        size: side of a tile in pixels.
        patch: side of a patch in pixels.
        stem: widths of 3x3 convolutions of stride 2 that make the patches, instead of cutting them out: random weights learn in
            a fraction of the steps (arXiv:2106.14881). Empty as published.
        dim: width inside the transformer; what comes out is four times as wide.
        ffn: width inside the feed-forward layers.
        norm: LayerNorm, or RMSNorm as in InternViT-6B.
        eps: of every norm.
        qkv_bias: whether queries, keys and values have a bias.
        qk_norm: RMSNorm over the queries, and over the keys, of all heads together, as in InternViT-6B.
        layer_scale: what the learned scales of attention and feed-forward begin at.
        drop_path: fraction of rows whose last layer is skipped while training; layers before it in proportion to their depth.
        layer: whose output is taken, as an index into [embeddings, layer 1, …]; the layers behind it are not built.
        gain: the features are multiplied by this before the shuffle; the released VITA weights need 0.5.
        checkpointing: has moved to a stage's `trainer.activation_checkpointing`; must be false.
        most_tiles: that an image is cut into; 0 cuts none.
        thumbnail: whether an image of several tiles is followed by all of it, small.
        frame_rate: frames of a video per second; see ImageSpec.
        least_frames: of a video.
        most_frames: of a video.
        pooled: slow-fast pooling of a video; see ImageSpec.
        weights: a published InternViT: its folder (model.safetensors, config.json), which states the sizes, or one file; None:
            random weights.
        weights_prefix: what a wrapper around the model put before the names of these weights; tensors without it are left out.
    """

    size: int = 64
    patch: int = 8
    dim: int = 64
    layers: int = 3
    heads: int = 4
    ffn: int = 192
    norm: Literal["layer", "rms"] = "layer"
    eps: float = 1e-6
    qkv_bias: bool = True
    qk_norm: bool = False
    layer_scale: float = 1.0
    drop_path: float = 0.1
    layer: int = -1
    gain: float = 0.5
    checkpointing: bool = False
    most_tiles: int = 12
    thumbnail: bool = True
    frame_rate: float | None = None
    least_frames: int = 4
    most_frames: int = 16
    pooled: tuple[int, int, int] | None = None
    weights: str | None = None
    stem: tuple[int, ...] = ()
    weights_prefix: str = field(default="", metadata=LATER)

    def __post_init__(self) -> None:
        if self.checkpointing:
            raise ValueError("checkpointing has moved; set a stage's trainer.activation_checkpointing=[vision.encoder]")
        for name in ("size", "patch", "dim", "layers", "heads", "ffn"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, but must be at least 1")
        if self.dim % self.heads:
            raise ValueError(f"heads is {self.heads}, but must divide dim, which is {self.dim}")
        if self.size % (SHUFFLE * self.patch):
            raise ValueError(f"size is {self.size}, but must be a multiple of {SHUFFLE * self.patch}: patches of {self.patch} "
                             f"pixels are joined {SHUFFLE} by {SHUFFLE}")
        if self.stem and (min(self.stem) < 1 or 2 ** len(self.stem) != self.patch):
            raise ValueError(f"stem is {list(self.stem)}, but patch is {self.patch}, and {len(self.stem)} convolutions of"
                             f" stride 2 make patches of {2 ** len(self.stem)} pixels; give a positive width for each halving")
        if not 0.0 <= self.drop_path < 1.0:
            raise ValueError(f"drop_path is {self.drop_path}, but must be at least 0 and below 1")
        if not -self.layers <= self.layer <= self.layers or self.layer == 0:
            raise ValueError(f"layer is {self.layer}, but must be from 1 to {self.layers}, or from -{self.layers} to -1, "
                             "which counts from the end")
        if self.eps <= 0 or self.gain == 0:
            raise ValueError(f"eps is {self.eps:g} and gain is {self.gain:g}, but eps must be above 0 and gain not 0")
        assert self.image_spec  # its fields are ours: they are refused here, not when it is first asked for

    @property
    def grid(self) -> int:
        """Patches on a side of a tile."""
        return self.size // self.patch

    @property
    def depth(self) -> int:
        """Layers that are built: up to the chosen one."""
        return self.layer if self.layer > 0 else self.layers + 1 + self.layer

    @property
    def input(self) -> SignalSpec:
        return SignalSpec("image", None, (3, self.size, self.size))

    @property
    def output(self) -> FeatureSpec:
        return FeatureSpec(SHUFFLE**2 * self.dim, count=(self.grid // SHUFFLE) ** 2)

    @property
    def image_spec(self) -> ImageSpec:
        return ImageSpec(
            self.size, most_tiles=self.most_tiles, thumbnail=self.thumbnail, frame_rate=self.frame_rate,
            least_frames=self.least_frames, most_frames=self.most_frames, pooled=self.pooled,
        )

    def length(self, items: int) -> int:
        """Give the features of a tile, which are as many for every tile."""
        return (self.grid // SHUFFLE) ** 2

    def footprint(self) -> Footprint:
        """Give how large it is; what a layer keeps was measured: 10 dim + 2 ffn values for a patch, 2 dim of them float32."""
        dim, ffn = self.dim, self.ffn
        norm = 2 * dim if self.norm == "layer" else dim
        layer = (linear(dim, 3 * dim, bias=self.qkv_bias) + linear(dim, dim) + linear(dim, ffn) + linear(ffn, dim)
                 + 2 * dim * self.qk_norm + 2 * norm + 2 * dim)
        patches = convolution(3, dim, self.patch**2)
        if self.stem:
            patches = sum(convolution(narrow, wide, 9) + 2 * wide for narrow, wide in pairwise((3, *self.stem)))
            patches += convolution(self.stem[-1], dim, 1)
        inside = (1 + self.grid**2) / self.length(1)  # patches of a feature, and its part of the class token
        stem = sum(2 * wide * (self.patch / 2**step) ** 2 for step, wide in enumerate(self.stem, 1))
        return Footprint(
            parameters=patches + dim + (1 + self.grid**2) * dim + self.depth * layer, layers=self.depth, width=inside * dim,
            layer=Saved(2 * dim, (8 + 2 * self.qk_norm) * dim + 2 * ffn).times(inside),
            outside=Saved(3 * self.patch**2, stem).times(inside),
            matrices=(Matrix(self.depth, dim, 3 * dim), Matrix(self.depth, dim, dim), Matrix(self.depth, dim, ffn),
                      Matrix(self.depth, ffn, dim)))

    @staticmethod
    def folder_fields(fields: "Mapping[str, object]") -> "dict[str, FolderValue]":
        """Give what the folder in `weights` states for the other fields; raises ConfigError where it cannot be read."""
        return folder_fields(fields)

    def build(self) -> "InternVitEncoder":
        from omnikit_internvit.model import InternVitEncoder

        return InternVitEncoder(self)
