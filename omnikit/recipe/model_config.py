"""A model's folder as encoders of transformers read it: its config.json, how its input is prepared, numbers in range.

What is wrong with them is a ValueError of one clause, as a component's `__post_init__` raises it.
"""

import math
from collections.abc import Mapping
from pathlib import Path

from omnikit.contracts.folders import FolderValue
from omnikit.errors import ConfigError
from omnikit.recipe.model_folder import model_folder, read_object

Values = Mapping[str, object]


def config_folder(weights: object) -> Path | None:
    """Give the folder of a path, or of a model id in the local download cache, if it has a config.json.

    Raises:
        ValueError: it is a download cache, one level above the folder.
    """
    path = model_folder(str(weights))
    if path is None or (path / "config.json").is_file():
        return path
    inside = next((found for found in sorted(path.glob("snapshots/*")) if (found / "config.json").is_file()), None)
    if inside:
        raise ValueError(f"weights is {str(weights)!r}, a download cache; its files are in {inside}")
    return None


def fill_from_folder(config: object, stated: Mapping[str, FolderValue], weights: str) -> None:
    """Put what a folder states into the fields of a frozen dataclass that are null, so that they are whole without the folder.

    Raises:
        ValueError: a field contradicts the folder.
    """
    for name, found in stated.items():
        own = getattr(config, name)
        if own is None:
            object.__setattr__(config, name, found.value)
        elif found.contradicts(own):
            raise ValueError(f"{name} is {own}, but {found.place} of {weights} states {found.value}; leave {name} out or give"
                             " another folder")


def json_file(path: Path) -> dict[str, object]:
    """Give the mapping of a JSON file, {} where there is none; raises ValueError if it holds something else."""
    try:
        return read_object(path)
    except ConfigError as error:
        raise ValueError(str(error).removesuffix(".")) from None


def processor_config(folder: Path, inner: str) -> dict[str, object]:
    """Give what prepares a model's input: preprocessor_config.json, else `inner` of processor_config.json, else {}."""
    found = json_file(folder / "preprocessor_config.json") or json_file(folder / "processor_config.json").get(inner)
    return found if isinstance(found, dict) else {}


def integer(values: Values, key: str, default: int, where: str, least: int = 1) -> int:
    """Give a whole number of at least `least`; of two equal sides, one. `where` names the file."""
    value = values.get(key)
    value = default if value is None else value
    if isinstance(value, list) and len(value) == 2 and value[0] == value[1]:
        value = value[0]
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{where} has {key} {value!r}, but it must be a whole number of at least {least}")
    return value


def positive(values: Values, key: str, default: float, where: str) -> float:
    """Give a finite number above 0."""
    value = values.get(key)
    value = default if value is None else value
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value) or value <= 0:
        raise ValueError(f"{where} has {key} {value!r}, but it must be a finite number above 0")
    return float(value)
