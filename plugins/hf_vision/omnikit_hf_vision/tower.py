"""An image tower with every number known: its checks, widths and footprint. Light."""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import pairwise
from typing import TYPE_CHECKING

from omnikit.contracts.footprint import Footprint, Matrix, Saved, convolution, linear
from omnikit_hf_vision.families import FAMILIES, Family

if TYPE_CHECKING:
    from omnikit_hf_vision.config import HfVision

IMPORTS = 46 * 2**20  # bytes of transformers' modelling code in a process


@dataclass(frozen=True)
class Tower:
    """The fields of HfVision of the same names, settled."""

    family: str
    dim: int
    layers: int
    heads: int
    ffn: int
    patch: int
    trained_size: int
    activation: str
    eps: float
    size: int
    fit: str
    resample: str
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    feature_layers: tuple[int, ...]
    final_norm: bool
    class_token: bool
    swiglu: bool | None
    window: int | None
    global_layers: tuple[int, ...] | None
    neck: int | None
    convolutions: tuple[int, ...]
    convolution_side: int | None

    @classmethod
    def of(cls, config: HfVision) -> Tower:
        """Take the fields of a configuration."""
        return cls(**{item.name: getattr(config, item.name) for item in fields(cls)})

    @property
    def kind(self) -> Family:
        """What its family is like."""
        return FAMILIES[self.family]

    @property
    def grid(self) -> int:
        """Patches on a side of an image."""
        return self.size // self.patch

    @property
    def side(self) -> int:
        """Features on a side of an image: patches, or what convolutions of stride 2 leave of them."""
        side = self.convolution_side or self.grid
        for _ in self.convolutions:
            side = (side + 1) // 2
        return side

    @property
    def chosen(self) -> tuple[int, ...]:
        """`feature_layers`, counted from the embeddings, 0."""
        return tuple(index if index >= 0 else self.layers + 1 + index for index in self.feature_layers)

    @property
    def depth(self) -> int:
        """Layers that are built: up to the last chosen one."""
        return max(self.chosen)

    @property
    def closes(self) -> bool:
        """Whether the norm (of SAM: the neck) behind the last layer is applied."""
        return self.final_norm and self.kind.closes and self.depth == self.layers

    @property
    def width(self) -> int:
        """Of a feature: the chosen layers' widths together."""
        last = self.neck if self.closes and self.neck else self.dim
        last = self.convolutions[-1] if self.convolutions else last
        return sum(last if index == self.depth else self.dim for index in self.chosen)

    def check(self) -> None:
        """Raise ValueError where the numbers do not fit together."""
        for name in ("dim", "layers", "heads", "ffn", "patch", "trained_size", "size", "window", "neck"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}, but must be at least 1")
        if self.dim % self.heads:
            raise ValueError(f"heads is {self.heads}, but must divide dim, which is {self.dim}")
        if not self.eps > 0:
            raise ValueError(f"eps is {self.eps:g}, but must be above 0")
        for name in ("size", "trained_size"):
            if getattr(self, name) < self.patch:
                raise ValueError(f"{name} is {getattr(self, name)}, but a patch has {self.patch} pixels; give at least that")
        self._check_layers()
        self._check_family()

    def _check_layers(self) -> None:
        if not self.feature_layers or len(set(self.chosen)) < len(self.chosen):
            raise ValueError(f"feature_layers is {list(self.feature_layers)}, but must name at least one layer, and each once")
        if min(self.chosen) < 0 or self.depth > self.layers or self.depth == 0:
            raise ValueError(f"feature_layers is {list(self.feature_layers)}, but must be from 1 to {self.layers}, or from"
                             f" -{self.layers} to -1, which counts from the end; 0 stands for the embeddings beside another"
                             " one")

    def _check_family(self) -> None:
        if self.class_token and not self.kind.class_tokens:
            raise ValueError(f"class_token is true, but towers of family {self.family} have none")
        if self.family != "sam":
            if self.convolutions or self.convolution_side:
                raise ValueError(f"convolutions is {list(self.convolutions)} and convolution_side {self.convolution_side}, but"
                                 f" only towers of family sam have them, and this one is {self.family}")
            return
        if self.size != self.trained_size or self.size % self.patch:
            raise ValueError(f"size is {self.size} and trained_size {self.trained_size}, but images of family sam have the size"
                             f" that it was trained on, a multiple of {self.patch}")
        if self.convolutions and (self.chosen != (self.layers,) or not self.closes or min(self.convolutions) < 1):
            raise ValueError(f"convolutions is {list(self.convolutions)}, but must be widths of at least 1, and feature_layers"
                             " [-1] with final_norm true: they stand behind the neck")
        if self.convolution_side is not None and not (self.convolutions and self.convolution_side >= 1):
            raise ValueError(f"convolution_side is {self.convolution_side}, but must be at least 1, and convolutions behind it")
        if not set(self.global_layers or ()) <= set(range(self.layers)):
            raise ValueError(f"global_layers is {list(self.global_layers or ())}, but its layers are 0 to {self.layers - 1}")


def footprint(tower: Tower) -> Footprint:
    """Give how large a tower is; what a layer keeps for a patch is InternViT's, which is built alike."""
    dim, ffn, depth, count = tower.dim, tower.ffn, tower.depth, tower.grid**2
    layer = 4 * linear(dim, dim) + 4 * dim + _feed_forward(tower)
    layer += 2 * dim if tower.family == "dinov2" else 0
    total = _embeddings(tower) + depth * layer + 2 * dim * tower.closes
    square = 0.0
    if tower.family == "sam":
        reaches = [tower.trained_size // tower.patch if index in (tower.global_layers or ()) else tower.window or 1
                   for index in range(depth)]
        total += sum(2 * (2 * reach - 1) * (dim // tower.heads) for reach in reaches)
        neck = tower.neck or 0
        total += (dim * neck + 9 * neck**2 + 4 * neck - 2 * dim) * tower.closes
        total += sum(9 * inputs * outputs for inputs, outputs in pairwise((neck, *tower.convolutions)))
        square = 2 * tower.heads * sum(min(1.0, reach**2 / count) for reach in reaches) / depth  # scores that are added to
    each = (tower.kind.class_tokens + count) / count
    return Footprint(
        parameters=total, layers=depth, width=each * dim, layer=Saved(2 * dim, 8 * dim + 2 * ffn).times(each),
        outside=Saved(3 * tower.patch**2 + 2 * dim), square=square, imports=IMPORTS,
        matrices=(Matrix(4 * depth, dim, dim), Matrix(depth, dim, ffn), Matrix(depth, ffn, dim)))


def _embeddings(tower: Tower) -> int:
    """Give the parameters before the layers."""
    dim, trained = tower.dim, (tower.trained_size // tower.patch) ** 2
    patches = convolution(3, dim, tower.patch**2) + trained * dim
    if tower.family == "clip":
        return patches - dim + 2 * dim + 2 * dim  # no bias; the class token and its position; a norm
    return patches + 2 * dim * tower.kind.class_tokens


def _feed_forward(tower: Tower) -> int:
    dim, ffn = tower.dim, tower.ffn
    if tower.swiglu:
        inner = (ffn * 2 // 3 + 7) // 8 * 8  # modeling_dinov2.py: two thirds, rounded up to a multiple of 8
        return 2 * linear(dim, inner) + linear(inner, dim)
    return linear(dim, ffn) + linear(ffn, dim)
