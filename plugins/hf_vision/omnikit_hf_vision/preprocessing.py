"""How a folder's image processor makes squares, as fields of an ImageSpec. Light."""

from math import isqrt
from typing import TypedDict

from omnikit.contracts.specs import RESAMPLING
from omnikit.recipe.model_config import Values, integer

Colour = tuple[float, float, float]


class Images(TypedDict, total=False):
    """Fields of `hf_vision` that a preprocessor_config.json states."""

    size: int
    edge: int | None
    fit: str
    resample: str
    mean: Colour
    deviation: Colour


def images(config: Values, where: str) -> Images:
    """Give what a preprocessor_config.json states; empty of an empty one.

    Raises:
        ValueError: it prepares images in a way that no ImageSpec describes.
    """
    for name, only in (("do_resize", True), ("do_rescale", True)):
        if config.get(name, only) is not only:
            raise ValueError(f"{where} has {name} {config[name]!r}, but images are prepared with {only!r} alone")
    factor = config.get("rescale_factor", 1 / 255)
    if not isinstance(factor, float) or abs(factor * 255 - 1) > 1e-6:
        raise ValueError(f"{where} has rescale_factor {factor!r}, but bytes are divided by 255 alone")
    found = _colours(config, where)
    number = config.get("resample")
    if isinstance(number, int) and 0 <= number < len(RESAMPLING):
        found["resample"] = RESAMPLING[number]
    if "max_num_patches" in config:  # SigLIP 2's: of a square image as many patches as fit, which is a square of them
        found["size"] = integer(config, "patch_size", 16, where) * isqrt(integer(config, "max_num_patches", 256, where))
        found["fit"] = "stretch"
    elif "size" in config:
        found.update(_square(config, where))
    return found


def _square(config: Values, where: str) -> Images:
    size = config["size"]
    cut = _side(config.get("crop_size"), where) if config.get("do_center_crop") else None
    if isinstance(size, dict) and "longest_edge" in size and "shortest_edge" not in size:
        return {"size": integer(size, "longest_edge", 1, where), "fit": "corner"}
    if isinstance(size, dict) and "height" in size:
        side = _side(size, where)
        return {"size": side, "fit": "stretch"} if cut in (None, side) else _no_square(config, where)
    edge = integer(size if isinstance(size, dict) else {"shortest_edge": size}, "shortest_edge", 1, where)
    if cut is None or cut > edge:
        return _no_square(config, where)
    return {"size": cut, "edge": edge if edge > cut else None, "fit": "crop"}


def _no_square(config: Values, where: str) -> Images:
    raise ValueError(f"{where} resizes images to {config['size']!r} and cuts {config.get('crop_size')!r} out, but hf_vision"
                     " takes squares: a square size, or a shortest edge with the centre cut out")


def _side(value: object, where: str) -> int:
    """Give the side of a square: a number, or equal height and width."""
    sides = value if isinstance(value, dict) else {"height": value, "width": value}
    height, width = integer(sides, "height", 0, where), integer(sides, "width", 0, where)
    if height != width:
        raise ValueError(f"{where} makes images of {height} x {width}, but hf_vision takes squares")
    return height


def _colours(config: Values, where: str) -> Images:
    if config.get("do_normalize", True) is False:
        return {"mean": (0.0, 0.0, 0.0), "deviation": (1.0, 1.0, 1.0)}
    found: Images = {}
    if "image_mean" in config:
        found["mean"] = _three(config["image_mean"], f"{where}: image_mean")
    if "image_std" in config:
        found["deviation"] = _three(config["image_std"], f"{where}: image_std")
    return found


def _three(value: object, where: str) -> Colour:
    numbers = [float(item) for item in value if isinstance(item, int | float)] if isinstance(value, list) else []
    if len(numbers) != 3:
        raise ValueError(f"{where} is {value!r}, but must be three numbers: of red, green and blue")
    return numbers[0], numbers[1], numbers[2]
