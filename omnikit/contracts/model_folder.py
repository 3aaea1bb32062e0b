"""The JSON files of a model's folder as transformers writes it, for light configurations. Imports no torch.

What is wrong with them is a ValueError of one clause, as a component's `__post_init__` raises it.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path

Values = Mapping[str, object]


def json_file(path: Path) -> dict[str, object]:
    """Give the mapping of a JSON file; raises ValueError if it is missing or holds something else."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror or error}); give a folder that transformers wrote") from None
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({' '.join(str(error).split())[:80]}); copy it again") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path} is not a mapping of keys to values; copy it again")
    return found


def model_config(folder: str) -> dict[str, object]:
    """Give the config.json of a model's folder.

    Raises:
        ValueError: there is none, or the folder is one level too high.
    """
    path = Path(folder).expanduser()
    inside = next((found for found in sorted(path.glob("snapshots/*")) if (found / "config.json").is_file()), None)
    if inside and not (path / "config.json").is_file():
        raise ValueError(f"weights is {folder!r}, a download cache; its files are in {inside}")
    if not (path / "config.json").is_file():
        raise ValueError(f"weights is {folder!r}, but there is no config.json in it; give a folder that transformers'"
                         " save_pretrained wrote")
    return json_file(path / "config.json")


def processor_config(folder: str, inner: str) -> dict[str, object]:
    """Give what prepares a model's input: preprocessor_config.json, or `inner` of processor_config.json; empty if none is."""
    path = Path(folder).expanduser()
    if (path / "preprocessor_config.json").is_file():
        return json_file(path / "preprocessor_config.json")
    if (path / "processor_config.json").is_file():
        found = json_file(path / "processor_config.json").get(inner)
        return found if isinstance(found, dict) else {}
    return {}


def whole(values: Values, key: str, default: int, where: str, least: int = 1) -> int:
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
