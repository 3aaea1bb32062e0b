"""What a model of open_clip is, from the JSON that describes it. Imports neither torch nor open_clip, which imports it."""

import json
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from omnikit.errors import nearest

MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # OpenAI's, open_clip/constants.py
LAYERS, WIDTH, PATCH, SIZE = 12, 768, 16, 224  # where the JSON does not say: CLIPVisionCfg of open_clip

Json = dict[str, Any]


@dataclass(frozen=True)
class Tower:
    """An image tower of open_clip's own VisionTransformer.

    Args:
        size: side of an image in pixels.
        patch: side of a patch in pixels.
        width: of a vector.
        mean: of red, green and blue, as the model was trained.
        deviation: of red, green and blue.
        config: the JSON, for open_clip itself.
    """

    size: int
    patch: int
    width: int
    layers: int
    mean: tuple[float, float, float] = MEAN
    deviation: tuple[float, float, float] = DEVIATION
    config: Json = field(default_factory=dict, compare=False, repr=False)


@cache
def tower(model: str) -> Tower:
    """Give the tower of a model: one of open_clip's names, a JSON file like its own, or a folder with open_clip_config.json.

    Raises:
        ValueError: there is no such model, or its tower is not open_clip's VisionTransformer; the message gives the reason.
    """
    whole = _read(model)
    config, colors = _mapping(whole.get("model_cfg", whole)), _mapping(whole.get("preprocess_cfg", {}))
    vision = _mapping(config.get("vision_cfg", {}))
    reason = _refused(config, vision) or _recoloured(colors)
    if reason:
        raise ValueError(f"model is {model!r}, whose {reason}")
    return Tower(
        _side(vision, "image_size", SIZE), _side(vision, "patch_size", PATCH), _side(vision, "width", WIDTH),
        _side(vision, "layers", LAYERS), _three(colors.get("mean"), MEAN), _three(colors.get("std"), DEVIATION), config,
    )  # fmt: skip


@cache
def known() -> dict[str, Path]:
    """Give the file of each model that the installed open_clip describes, and of our own."""
    spec = find_spec("open_clip")  # finds it and imports nothing
    if spec is None or not spec.submodule_search_locations:
        raise ValueError("open_clip is not installed; install open_clip_torch")
    folders = Path(spec.submodule_search_locations[0]) / "model_configs", Path(__file__).parent / "models"
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.json"))}


def _read(model: str) -> Json:
    path = Path(model).expanduser()
    if model.endswith(".json") or path.is_dir():
        path = path / "open_clip_config.json" if path.is_dir() else path
    elif model in known():
        path = known()[model]
    else:
        raise ValueError(f"model is {model!r}, which open_clip does not have.{nearest(model, known())} It has {len(known())}; "
                         "or name a JSON file or folder of one")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"model is {model!r}, but {path} cannot be read as JSON ({error})") from None
    if not isinstance(found, dict):
        raise ValueError(f"model is {model!r}, but {path} holds no mapping")
    return found


def _refused(config: Json, vision: Json) -> str | None:
    """Say why a tower is none of those that give patch vectors here, or None."""
    if vision.get("timm_model_name"):
        return f"tower is timm's {vision['timm_model_name']}; only open_clip's own VisionTransformer is read patch by patch"
    if isinstance(vision.get("layers"), list):
        return "tower is a ResNet, which has no patches; choose a ViT"
    if "multimodal_cfg" in config or vision.get("attentional_pool"):
        return "tower (CoCa) gives its captioner pooled queries, not patches; choose a ViT without attentional_pool"
    if vision.get("patch_dropout"):
        return "tower drops patches while training (patch_dropout), but the plan needs a fixed number; set it to 0"
    for name in ("image_size", "patch_size"):
        if isinstance(vision.get(name), list) and len(set(map(str, _list(vision[name])))) > 1:
            return f"{name} is {vision[name]}, but tiles are squares"
    return None


def _recoloured(colors: Json) -> str | None:
    """Give the reason why images cannot be prepared by a preprocess_cfg, or None."""
    for name, wanted in (("mode", "RGB"), ("interpolation", "bicubic"), ("resize_mode", "shortest")):
        if colors.get(name, wanted) != wanted:
            return f"preprocess_cfg has {name} {colors[name]!r}, but images are prepared with {wanted!r}"
    return None


def _mapping(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _side(vision: Json, name: str, default: int) -> int:
    value = vision.get(name, default)
    value = value[0] if isinstance(value, list) and value else value
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"vision_cfg.{name} is {value!r}, but must be a whole number of at least 1")
    return value


def _three(value: object, default: tuple[float, float, float]) -> tuple[float, float, float]:
    numbers = [float(item) for item in _list(value) if isinstance(item, int | float)]
    return (numbers[0], numbers[1], numbers[2]) if len(numbers) == 3 else default
