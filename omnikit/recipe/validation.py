"""What a recipe's YAML and an override may not do: name code, read this machine, choose folders, or have the wrong shape.

Hydra and OmegaConf would execute some of it before our own checks, and report the rest badly.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omnikit.errors import ConfigError
from omnikit.recipe.recipe import SLOTS
from omnikit.recipe.schema import MISSING_VALUE, key_paths

# with a default: Hydra drops `???` there
_SCHEMA = ("evaluate", "generate", "live", "media", "seed", "stages", "system", "template")
_MAPPINGS = ("train", "loss", "data", "optim", "trainer")  # of a stage
_RESOLVER = re.compile(r"\$\{.*:", re.DOTALL)  # ${oc.env:HOME}, ${oc.${x}:HOME}
_USE = re.compile(rf"(backbone|data\.\w+|\w+\.(?:{'|'.join(SLOTS)}))\.use")
_PICK = re.compile(rf"backbone|data/\w+|\w+/(?:{'|'.join(SLOTS)})")


def check_overrides(overrides: Sequence[str]) -> None:
    """Raise ConfigError if an override names code to run, which Hydra would do under `hydra.…`, or picks no single name."""
    for override in overrides:
        given, equals, value = override.partition("=")
        key = given.lstrip("+~").strip()
        if "_target_" in override:
            raise ConfigError(f"override {override!r} is refused: `_target_` names code; pick an installed component with"
                              " branch/kind=<name>, it never runs code.")
        if equals and not key:
            raise ConfigError(f"override {override!r} cannot be read: it names no key; write key=value.")
        use = _USE.fullmatch(key)
        if use:
            picked = given.replace(key, use.group(1).replace(".", "/"))
            raise ConfigError(f"override {override!r} would keep the fields of another component; pick it with"
                              f" {picked}={value or '<name>'}.")
        if _PICK.fullmatch(key) and value == "None":
            raise ConfigError(f"override {override!r} picks None, the name of nothing; leave the part out with ~{key}.")
        if _PICK.fullmatch(key) and value.startswith("["):
            raise ConfigError(f"override {override!r} names several, but a part is one component; pick it with {given}=<name>.")


def check_file(path: Path, values: Mapping[str, Any], below: Collection[str] = ()) -> None:
    """Raise ConfigError if a recipe file tries to run code, to read or write elsewhere, or has the wrong shape.

    Args:
        below: stages of the recipes that it extends, which it may leave out with null.
    """
    if "hydra" in values:
        raise ConfigError(f"{path} sets `hydra`, which belongs to the command line; remove that key.")
    if values.get("run") is not None:
        raise ConfigError(f"{path} sets `run`, which belongs to the command line; remove that key and give run=PATH there.")
    _check_defaults(path, values.get("defaults", []))
    targets = key_paths("_target_", values)
    if targets:
        raise ConfigError(f"{path} holds {targets[0]}, which is refused: a YAML names installed components with `use:`,"
                          " it never runs code.")
    for key, text in _texts(values):
        if _RESOLVER.search(text):
            raise ConfigError(f"{path}: {key} is {text!r}, which is refused: it would read this machine; write the value"
                              " there.")
        if text == MISSING_VALUE and key.partition(".")[0] in _SCHEMA:
            raise ConfigError(f"{path}: {key} is {MISSING_VALUE}, which is not a value; write one there.")
    _check_shapes(path, values, below)


def _check_defaults(path: Path, entries: object) -> None:
    if not isinstance(entries, list):
        raise ConfigError(f"{path}: defaults is not a list; write a line `- /<branch>/<kind>: <name>` for each part.")
    for entry in entries:
        if "hydra" in str(entry):
            raise ConfigError(f"{path} lists {entry} in its defaults; `hydra` belongs to the command line, remove it.")
        if "${" in str(entry):
            raise ConfigError(f"{path} lists {entry} in its defaults, where nothing is filled in; write the name itself.")
        pair = isinstance(entry, Mapping) and len(entry) == 1
        if pair and next(iter(entry.values())) == "None":
            raise ConfigError(f"{path} lists {entry!r} in its defaults, but None is the name of nothing; write null to leave"
                              " the part out.")
        names_one = pair and isinstance(next(iter(entry)), str) and isinstance(next(iter(entry.values())), str | None)
        if not isinstance(entry, str) and not names_one:
            raise ConfigError(f"{path} lists {entry!r} in its defaults, which is neither a recipe nor one pair"
                              " `/<branch>/<kind>: <name>`; fix that line.")


def _check_shapes(path: Path, values: Mapping[str, Any], below: Collection[str]) -> None:
    """Check the shape of stages: OmegaConf does not name the wrong one."""
    stages = _mapping(path, "stages", values.get("stages", {}))
    for name, stage in stages.items():
        if stage is None and name in below:
            continue
        settings = _mapping(path, f"stages.{name}", stage)
        for key in _MAPPINGS:
            _mapping(path, f"stages.{name}.{key}", settings.get(key, {}))


def _mapping(path: Path, key: str, value: object) -> Mapping[str, Any]:
    if isinstance(value, str) and value.startswith("${"):  # another key's value, checked there
        return {}
    if not isinstance(value, Mapping):
        shown = "empty" if value is None else repr(value)
        raise ConfigError(f"{path}: {key} is {shown}, but must be a mapping of keys to values.")
    return value


def _texts(values: object, where: str = "") -> Iterator[tuple[str, str]]:
    """Give (dotted path, text) of every text in nested mappings and lists."""
    if isinstance(values, str):
        yield where, values
    if isinstance(values, Mapping):
        for key, value in values.items():
            yield from _texts(value, f"{where}.{key}".lstrip("."))
    if isinstance(values, list):
        for index, value in enumerate(values):
            yield from _texts(value, f"{where}[{index}]")
