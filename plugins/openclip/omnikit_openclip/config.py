"""The settings and contract of open_clip's image towers. Imports neither torch nor open_clip."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from omnikit.contracts.footprint import Footprint, Matrix, Saved, linear
from omnikit.contracts.specs import LATER, FeatureSpec, ImageSpec, SignalSpec
from omnikit_openclip.towers import Tower, tower

if TYPE_CHECKING:
    from omnikit_openclip.model import OpenClipEncoder

IMPORTS = 90 * 2**20  # bytes of open_clip and torchvision in a process


@dataclass(frozen=True)
class OpenClip:
    """The patch features of an image tower of open_clip.

    Colours and size of the images are those of the model; a published checkpoint may have been trained with others than its
    name implies, then set `mean` and `deviation` (see pretrained.py of open_clip).

    Args:
        model: open_clip's name (ViT-L-14-336), a JSON file like those in its model_configs, or a folder with
            open_clip_config.json.
        weights: a local checkpoint of that model (.safetensors, .bin or .pt of tensors); None: random weights.
        weights_prefix: what a wrapper around the model put before the names of these weights; tensors without it are left out.
        layer: whose output is taken, as an index into [embeddings, layer 1, …]; the layers behind it are not built.
        norm: whether the tower's last LayerNorm is applied to the features.
        mean: of red, green and blue; None: the model's.
        deviation: of red, green and blue; None: the model's.
        checkpointing: has moved to a stage's `trainer.activation_checkpointing`; must be false.
        most_tiles: that an image is cut into; 0 cuts none, as open_clip does: shortest edge resized, centre cut out.
        thumbnail: whether an image of several tiles is followed by all of it, small.
        frame_rate: frames of a video per second; see ImageSpec.
        least_frames: of a video.
        most_frames: of a video.
        pooled: slow-fast pooling of a video; see ImageSpec.
    """

    model: str = "ViT-B-32"
    weights: str | None = None
    layer: int = -1
    norm: bool = False
    mean: tuple[float, float, float] | None = None
    deviation: tuple[float, float, float] | None = None
    checkpointing: bool = False
    most_tiles: int = 0
    thumbnail: bool = True
    frame_rate: float | None = None
    least_frames: int = 4
    most_frames: int = 16
    pooled: tuple[int, int, int] | None = None
    weights_prefix: str = field(default="", metadata=LATER)

    def __post_init__(self) -> None:
        if self.checkpointing:
            raise ValueError("checkpointing has moved; set a stage's trainer.activation_checkpointing=[vision.encoder]")
        layers = self.tower.layers
        if not -layers <= self.layer <= layers or self.layer == 0:
            raise ValueError(f"layer is {self.layer}, but must be from 1 to {layers}, or from -{layers} to -1, which counts "
                             f"from the end: {self.model} has {layers} layers")
        assert self.image_spec  # its fields are ours: they are refused here, not when it is first asked for

    @property
    def tower(self) -> Tower:
        """open_clip's description of the model."""
        return tower(self.model)

    @property
    def depth(self) -> int:
        """Layers that are built: up to the chosen one."""
        return self.layer if self.layer > 0 else self.tower.layers + 1 + self.layer

    @property
    def input(self) -> SignalSpec:
        return SignalSpec("image", None, (3, self.tower.size, self.tower.size))

    @property
    def output(self) -> FeatureSpec:
        return FeatureSpec(self.tower.width, count=self.length(1))

    @property
    def image_spec(self) -> ImageSpec:
        return ImageSpec(
            self.tower.size, self.mean or self.tower.mean, self.deviation or self.tower.deviation, most_tiles=self.most_tiles,
            thumbnail=self.thumbnail, frame_rate=self.frame_rate, least_frames=self.least_frames,
            most_frames=self.most_frames, pooled=self.pooled,
        )  # fmt: skip

    def length(self, items: int) -> int:
        """Give the features of a tile, which are as many for every tile."""
        return (self.tower.size // self.tower.patch) ** 2

    def footprint(self) -> Footprint:
        """Give how large it is; what a layer keeps is that of InternViT's, which is built alike."""
        vision, dim = self.tower.config.get("vision_cfg", {}), self.tower.width
        ffn, count = int(dim * vision.get("mlp_ratio", 4.0)), self.length(1)
        layer = linear(dim, 3 * dim) + linear(dim, dim) + linear(dim, ffn) + linear(ffn, dim) + 4 * dim
        inside = (1 + count) / count
        return Footprint(
            parameters=3 * self.tower.patch**2 * dim + dim + (1 + count) * dim + self.depth * layer + 2 * dim * (1 + self.norm),
            layers=self.depth, width=inside * dim, layer=Saved(2 * dim, 8 * dim + 2 * ffn).times(inside),
            outside=Saved(3 * self.tower.patch**2 + 2 * dim), imports=IMPORTS,
            matrices=(Matrix(self.depth, dim, dim), Matrix(self.depth, dim, ffn), Matrix(self.depth, ffn, dim)))

    def build(self) -> "OpenClipEncoder":
        from omnikit_openclip.model import OpenClipEncoder

        return OpenClipEncoder(self)
