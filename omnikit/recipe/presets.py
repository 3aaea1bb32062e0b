"""What `branch/kind=name` picks: a preset's or a component's fields, all of them, as plain values.

Reads the registry and YAML; Hydra comes here through its ConfigSource, the plan for templates and datasets.
"""

from collections.abc import Iterable
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

from omnikit import registry
from omnikit.contracts.specs import KINDS
from omnikit.errors import ConfigError, RegistryError, nearest
from omnikit.recipe.schema import defaults
from omnikit.recipe.yaml_text import YAMLLimitError, parse_yaml


def preset_fields(kind: str, name: str) -> dict[str, Any]:
    """Give `use` and every field of a preset or component; `kind` is a component kind, or "data" for a dataset.

    A preset of kind "trainer" has the fields that it sets.

    Raises:
        RegistryError: nothing of that name is installed, it is broken, or two packages publish it.
        ConfigError: the preset's file is not a mapping, or sets a field that its component lacks.
    """
    component_kind = "reader" if kind == "data" else kind
    preset = registry.preset(kind, name)
    if preset is None:
        if name not in registry.components(component_kind):
            raise RegistryError(unknown_name(kind, name, names(kind)))
        return {"use": name, **defaults(registry.component(component_kind, name))}
    values = read_mapping(preset.path)
    if kind == "trainer":  # settings of stages, not of a component
        return values
    use = values.pop("use", None)
    if not isinstance(use, str):
        raise ConfigError(f"{preset.path} has no `use: <component>`; a preset names the {component_kind} it sets.")
    known = defaults(registry.component(component_kind, use))
    for key in values:
        if key not in known:
            raise ConfigError(f"{preset.path} sets {key!r}, which is not a field of {component_kind} {use!r}."
                              f"{nearest(key, known)} It has: {', '.join(known)}.")
    return {"use": use, **known, **values}


def names(kind: str) -> list[str]:
    """List what can be picked for a kind: presets and components; read from metadata and file names only."""
    components = registry.components("reader" if kind == "data" else kind) if kind in (*KINDS, "data") else {}
    return sorted({*registry.presets(kind), *components})


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping; interpolations stay as they are.

    Raises:
        ConfigError: the file cannot be read, is not YAML (names the line), or not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror or error}); fix the file.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not YAML: {error}; fix the file.") from error
    return mapping_of(text, path)


def mapping_of(text: str, path: Path) -> dict[str, Any]:
    """Give the mapping that YAML holds; `path` is where it stands. Raises ConfigError as read_mapping does."""
    return deepcopy(_parsed(text, path))


@lru_cache(maxsize=64)  # Hydra and our own checks ask for one file several times while a recipe is composed
def _parsed(text: str, path: Path) -> dict[str, Any]:
    import yaml
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        values = {} if (read := parse_yaml(text)) is None else read
        if not isinstance(values, dict):
            raise ConfigError(f"{path} is not a mapping of keys to values; fix the file.")
        if "${" in text or not _is_plain(values):
            OmegaConf.create(values)  # refuses what is not an interpolation, and what it cannot hold
    except YAMLLimitError as error:
        raise ConfigError(f"{path} {error}; fix the file.") from error
    except (yaml.YAMLError, OmegaConfBaseException, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
        line = f", line {mark.line + 1}," if mark else ""
        raise ConfigError(f"{path}{line} is not YAML: {problem}; fix the file.") from error
    return {str(key): value for key, value in values.items()}


def _is_plain(value: object) -> bool:
    """Say whether a value is made of mappings, lists, text, numbers, booleans and nothing."""
    if isinstance(value, dict):
        return all(isinstance(key, str | int) and _is_plain(one) for key, one in value.items())
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | int | float)


def summary(path: Path) -> str:
    """Give the one line that describes a YAML file: its first comment that is not for Hydra."""
    lines = path.read_text(encoding="utf-8").splitlines()
    comments = (line.lstrip("# ").strip() for line in lines if line.startswith("#"))
    return next((line for line in comments if line and not line.startswith("@")), "")


def stated(path: Path, key: str) -> str:
    """Give what a YAML file states in a comment `# key: text`; "" where it does not or is not there."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return next((line.removeprefix(f"# {key}: ") for line in lines if line.startswith(f"# {key}: ")), "")


def unknown_name(what: str, name: str, known: Iterable[str], advice: str = "") -> str:
    """Give the error for an unknown name, with the nearest one, what there is, and advice."""
    known = list(known)
    there = f"There is: {', '.join(known)}" if known else f"No {what} is installed"
    return f"{what} {name!r} is unknown.{nearest(name, known)} {there}{'; ' + advice if advice else ''}."
