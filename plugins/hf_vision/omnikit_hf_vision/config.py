"""The settings and contract of transformers' image towers. Imports neither torch nor transformers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from omnikit.contracts.folders import FolderValue
from omnikit.contracts.footprint import Footprint
from omnikit.contracts.specs import LATER, FeatureSpec, ImageSpec, SignalSpec
from omnikit.errors import ConfigError
from omnikit.recipe.model_config import config_folder, fill_from_folder, json_file, processor_config
from omnikit_hf_vision.families import FAMILIES, family_of, sizes
from omnikit_hf_vision.preprocessing import Images, images
from omnikit_hf_vision.tower import Tower, footprint

if TYPE_CHECKING:
    from omnikit_hf_vision.model import HfVisionEncoder

TINY_SIZE = 64
TINY = {"dim": 64, "layers": 3, "heads": 4, "ffn": 192, "patch": 16, "trained_size": TINY_SIZE, "swiglu": False, "window": 2,
        "global_layers": (2,), "neck": 64}  # our sizes
OF_ONE_FAMILY = {"swiglu": "dinov2", "window": "sam", "global_layers": "sam", "neck": "sam"}


@dataclass(frozen=True)
class HfVision:
    """The patch features of an image tower of transformers: CLIP, SigLIP, SigLIP 2, DINOv2, or SAM's image encoder.

    With `weights`, every field that is null comes from the folder's config.json and preprocessor_config.json, and a size that
    contradicts config.json is refused. Without, null is a tiny size of ours.

    Args:
        weights: a folder that transformers wrote, of the tower alone or of a model that has one; None: random weights.
        weights_prefix: what a wrapper around the model put before the names of these weights; tensors without it are left out.
        family: which tower.
        dim: width inside the transformer.
        ffn: width inside the feed-forward layers; of DINOv2 `mlp_ratio` x dim.
        patch: side of a patch in pixels.
        trained_size: side in pixels of the images that its positions are for.
        activation: transformers' name of it.
        eps: of every norm.
        swiglu: DINOv2: gated feed-forward layers, as in its giant.
        window: SAM: side of a window in patches.
        global_layers: SAM: layers, from 0, that attend to the whole image.
        neck: SAM: width of what its neck gives.
        convolutions: SAM: widths of 3 x 3 convolutions of stride 2 behind its neck, without biases, as Vary and DeepSeek-VL
            have them; `weights` holds none, so they begin as random numbers.
        convolution_side: SAM: side in patches that the neck's output is interpolated to before them (DeepSeek-VL: 96).
        size: side of an image in pixels; where it is not `trained_size`, positions are interpolated as transformers does it.
        edge: what the shortest edge is resized to before the centre is cut out; null or below `size`: `size`.
        fit: how an image becomes a square, see ImageSpec.
        resample: filter that resizes images, see ImageSpec.
        mean: of red, green and blue.
        deviation: of red, green and blue.
        feature_layers: whose outputs are taken, as indices into [embeddings, layer 1, …]; several are joined to one wide
            vector. Layers behind the last one are not built.
        final_norm: whether the last layer's output passes what transformers has behind it: a norm, in SAM its neck.
        class_token: whether the vector before the patches is given too, as the first one.
        most_tiles: that an image is cut into; 0 cuts none, as transformers does.
        thumbnail: whether an image of several tiles is followed by all of it, small.
        frame_rate: frames of a video per second; see ImageSpec.
        least_frames: of a video.
        most_frames: of a video.
        pooled: slow-fast pooling of a video; see ImageSpec.
        grids: (columns, rows) of tiles that an image may be cut into, see ImageSpec; with projector anyres_mlp.
    """

    weights: str | None = None
    family: Literal["clip", "siglip", "siglip2", "dinov2", "sam"] | None = None
    dim: int | None = None
    layers: int | None = None
    heads: int | None = None
    ffn: int | None = None
    patch: int | None = None
    trained_size: int | None = None
    activation: str | None = None
    eps: float | None = None
    swiglu: bool | None = None
    window: int | None = None
    global_layers: tuple[int, ...] | None = None
    neck: int | None = None
    size: int | None = None
    edge: int | None = None
    fit: Literal["crop", "pad", "stretch", "corner"] | None = None
    resample: str | None = None
    mean: tuple[float, float, float] | None = None
    deviation: tuple[float, float, float] | None = None
    feature_layers: tuple[int, ...] = (-1,)
    final_norm: bool = True
    class_token: bool = False
    most_tiles: int = 0
    thumbnail: bool = True
    frame_rate: float | None = None
    least_frames: int = 4
    most_frames: int = 16
    pooled: tuple[int, int, int] | None = None
    weights_prefix: str = field(default="", metadata=LATER)
    convolutions: tuple[int, ...] = field(default=(), metadata=LATER)
    convolution_side: int | None = field(default=None, metadata=LATER)
    grids: tuple[tuple[int, int], ...] = field(default=(), metadata=LATER)

    def __post_init__(self) -> None:
        if self.weights is not None:
            found = _stated(self.weights)
            if not found and self.family is None:
                raise ValueError(f"weights is {self.weights!r}, but there is no config.json in it; give a folder that"
                                 " transformers' save_pretrained wrote")
            fill_from_folder(self, found, self.weights)
        for name, value in self._from_defaults().items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        for name, family in OF_ONE_FAMILY.items():
            if getattr(self, name) is not None and self.family != family:
                raise ValueError(f"{name} is {getattr(self, name)}, but only towers of family {family} have it, and this one is"
                                 f" {self.family}")
        self.tower.check()
        assert self.image_spec  # its fields are ours: they are refused here, not when it is first asked for

    @staticmethod
    def folder_fields(fields: Mapping[str, Any]) -> dict[str, FolderValue]:
        """Give what the folder or id in `weights` states; sizes are fixed, how images are prepared may be set otherwise.

        Raises:
            ConfigError: its files hold what is not built here.
        """
        try:
            return _stated(fields["weights"])
        except ValueError as error:
            raise ConfigError(f"{error}.") from error

    def _from_defaults(self) -> dict[str, Any]:
        family = self.family or "clip"
        others = [name for name, owner in OF_ONE_FAMILY.items() if owner != family]
        tiny = {name: value for name, value in TINY.items() if name not in others}
        trained = self.trained_size or TINY_SIZE
        return {"family": family, **tiny, "activation": FAMILIES[family].activation, "eps": FAMILIES[family].eps,
                **_image_defaults(family, trained, {})}

    @property
    def tower(self) -> Tower:
        """The fields that make the tower and its images, none of them null."""
        return Tower.of(self)

    @property
    def input(self) -> SignalSpec:
        return SignalSpec("image", None, (3, self.tower.size, self.tower.size))

    @property
    def output(self) -> FeatureSpec:
        return FeatureSpec(self.tower.width, count=self.length(1))

    @property
    def image_spec(self) -> ImageSpec:
        tower = self.tower
        edge = self.edge if self.edge and self.edge > tower.size and tower.fit == "crop" else None
        return ImageSpec(
            tower.size, tower.mean, tower.deviation, tower.fit, edge=edge, resample=tower.resample,
            most_tiles=self.most_tiles, thumbnail=self.thumbnail, frame_rate=self.frame_rate, least_frames=self.least_frames,
            most_frames=self.most_frames, pooled=self.pooled, grids=self.grids,
        )  # fmt: skip

    def length(self, items: int) -> int:
        """Give the features of a tile, which are as many for every tile."""
        return self.tower.side**2 + int(self.class_token)

    def footprint(self) -> Footprint:
        """Give how large it is."""
        return footprint(self.tower)

    def build(self) -> "HfVisionEncoder":
        from omnikit_hf_vision.model import HfVisionEncoder

        return HfVisionEncoder(self)


def _image_defaults(family: str, trained_size: int, stated: Images) -> dict[str, Any]:
    """Give how images are prepared: what a folder states, else the family's way for the size of its training."""
    mean, deviation = FAMILIES[family].colours
    return {"size": trained_size, "edge": None, "fit": FAMILIES[family].fit, "resample": FAMILIES[family].resample,
            "mean": mean, "deviation": deviation, **stated}


def _stated(weights: str) -> dict[str, FolderValue]:
    """Give what a folder states, by our fields; {} where there is none. Raises ValueError as `folder_fields` does."""
    path = config_folder(weights)
    if path is None:
        return {}
    config, where = json_file(path / "config.json"), str(path / "config.json")
    family = family_of(config, where)
    found: dict[str, Any] = {"family": family, **dict.fromkeys(OF_ONE_FAMILY), **sizes(family, config, where)}
    prepared = images(processor_config(path, "image_processor"), str(path / "preprocessor_config.json"))
    ways = _image_defaults(family, found["trained_size"], prepared)
    return ({name: FolderValue(value, "config.json") for name, value in found.items()}
            | {name: FolderValue(value, "preprocessor_config.json", fixed=False) for name, value in ways.items()})
