"""The recipes that a recipe extends, and what it inherits. Imports no Hydra; the caller passes how files are found."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from omnikit.errors import ConfigError
from omnikit.recipe import presets

Find = Callable[[str], Path | None]  # an entry of the defaults to the recipe's file, None where it names no recipe


def check_no_cycle(path: Path, values: Mapping[str, Any], find: Find, above: tuple[Path, ...] = ()) -> None:
    """Raise ConfigError if a recipe extends itself, itself or by way of others: Hydra would not terminate."""
    if path in above:
        raise ConfigError(f"{path} extends itself ({' → '.join(p.stem for p in (*above, path))}); take it out of the defaults.")
    for parent in _extended(values, find):
        check_no_cycle(parent, presets.read_mapping(parent), find, (*above, path))


def inherited_stages(values: Mapping[str, Any], find: Find) -> set[str]:
    """Give the names of the stages that a recipe has from those it extends."""
    found = set[str]()
    for parent in _extended(values, find):
        content = presets.read_mapping(parent)
        stages = content.get("stages")
        found |= inherited_stages(content, find) | set(stages if isinstance(stages, Mapping) else ())
    return found


def _extended(values: Mapping[str, Any], find: Find) -> Iterator[Path]:
    entries = values.get("defaults")
    for entry in entries if isinstance(entries, list) else []:
        parent = find(entry) if isinstance(entry, str) else None
        if parent is not None:
            yield parent
