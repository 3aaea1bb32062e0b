"""Hydra's and OmegaConf's errors as one sentence each: which override or key, what is near, what to do."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields

from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from omnikit.errors import ConfigError, OmnikitError, nearest
from omnikit.paths import recipe_files
from omnikit.recipe.answers import Generate
from omnikit.recipe.optim import Optim
from omnikit.recipe.quoting import pasted
from omnikit.recipe.recipe import OWN_KEYS, SLOTS, Stage, TrainerConfig

Compose = Callable[[Sequence[str]], DictConfig]  # overrides to the composed tree
_TYPE_NAMES = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}
_CLASSES = {cls.__name__: cls for cls in (Generate, Optim, TrainerConfig, Stage)}


@contextmanager
def translate_hydra_errors(recipe: str, overrides: Sequence[str], compose: Compose) -> Iterator[None]:
    """Turn what Hydra raises while composing `recipe` into ConfigError; our own errors pass through.

    Args:
        compose: composes the recipe with other overrides, to find the nearest key that it has.
    """
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_sentence(error, recipe, overrides, compose)) from error
    except ValueError as error:  # `audio=3`, where audio is a group: Hydra has no class of its own for it
        if "Config group override" not in str(error):
            raise
        raise ConfigError(_group_as_key(recipe, overrides)) from error


def _sentence(error: Exception, recipe: str, overrides: Sequence[str], compose: Compose) -> str:
    text = str(error)
    if isinstance(error, OverrideParseException):
        return f"override {error.override!r} cannot be read: {_first_line(text)}; {_quoting(str(error.override))}."
    sweep = re.search(r"Ambiguous value for argument '(.*)'", text)
    if sweep:
        return f"{sweep.group(1)} names several values; a sweep needs -m (omnikit train … -m), a list needs brackets."
    found = re.search(r"Could not (?:find|load) '([^']*)'", text)
    if found:
        return _not_found(found.group(1), recipe, overrides)
    twice = re.search(r"Multiple values for ([\w/]+)|([\w/]+) appears more than once", text)
    if twice:
        return _duplicate_pick(twice.group(1) or twice.group(2), recipe, overrides)
    gone = re.search(r"Could not delete (?:from config\. )?'([^'=]+)", text)
    if gone:
        return _no_such_key(gone.group(1), recipe, overrides, compose)
    key = re.search(r"Could not override '([^'@]+)", text)
    if key:
        return _not_overridden(key.group(1), recipe, overrides, error.__cause__, compose)
    merged = re.search(r"Error merging override (\S+)", text)
    if merged:
        key_given, _, value = merged.group(1).lstrip("+").partition("=")
        return _bad_value(key_given, value, str(error.__cause__ or error))
    typed = re.search(r"full_key: ?(\S*)\n", text)
    if typed:
        return _bad_value(typed.group(1), "", text)
    return f"recipe {recipe} cannot be composed: {_first_line(text)}."


def _quoting(override: str) -> str:
    """Give the advice for an override that Hydra's grammar refuses: its value in quotes, ready for the shell."""
    key, equals, value = override.partition("=")
    if not equals or not re.fullmatch(r"(\+{1,2}|~)?[A-Za-z_][\w./@-]*", key):
        return "write key=value"
    return f"a text with such signs needs quotes: {pasted(key, value)}"


def _bad_value(key: str, value: str, text: str) -> str:
    """Explain a value or a key that the schema refuses; `text` is OmegaConf's."""
    if "not a subclass of Stage" in text and " dict " in text:
        stage = ".".join(key.split(".")[:2])
        return f"{key} belongs to {stage}, a stage that is not there; write a new stage in a YAML that extends this recipe."
    unknown = re.search(r"Key '(\w+)' not in '(\w+)'", text)
    if unknown and unknown.group(2) in _CLASSES:
        return unknown_field(key, unknown.group(1), unknown.group(2))
    wrong = re.search(r"Value '(.*)' of type '\w+' could not be converted to (\w+)", text)
    if wrong:
        return f"{key} is {wrong.group(1)!r}, but must be {_TYPE_NAMES.get(wrong.group(2), wrong.group(2).lower())}."
    if "Cannot merge DictConfig with ListConfig" in text:
        return f"{key} is {value}, but must be a mapping of keys to values."
    if "is not a ListConfig, list or tuple" in text:
        return f"{key} is {value or 'one value'}, but must be a list."
    mapping = re.search(r"(?:assign|assigned:|error:) \w+ (?:to Dict|is not a subclass of (\w+))", text)
    if mapping:
        shown = re.search(r"value: (.*)", text)
        found = shown.group(1) if shown else value or "one word"
        return f"{key or (mapping.group(1) or '').lower()} is {found}, but must be a mapping of keys to values."
    return f"{key} cannot be set{f' to {value!r}' if value else ''}: {_first_line(text)}."


def unknown_field(where: str, key: str, cls: str) -> str:
    """Give the error for a key that is not a field of one of the recipe's dataclasses."""
    known = sorted(item.name for item in fields(_CLASSES[cls]))
    return f"{where} is not a field of {cls}.{nearest(key, known)} It has: {', '.join(known)}."


def _not_overridden(key: str, recipe: str, overrides: Sequence[str], cause: BaseException | None,
                    compose: Compose) -> str:
    unknown = re.search(r"Key '(\w+)' not in '(\w+)'\s+full_key: (\S+)", str(cause))
    if unknown and unknown.group(2) in _CLASSES:
        return unknown_field(unknown.group(3), unknown.group(1), unknown.group(2))
    if _is_overridden(key, overrides):
        return _no_such_key(key, recipe, overrides, compose)
    near = nearest(key.rpartition("/")[2], SLOTS)
    return f"recipe {recipe} has `override /{key}` in its defaults, but what it extends picks no {key}.{near}" \
           " For a new branch, leave out the word override."


def _not_found(path: str, recipe: str, overrides: Sequence[str]) -> str:
    """Explain a choice or a recipe that Hydra cannot find."""
    group, _, name = path.rpartition("/")
    if _is_overridden(group, overrides) and not name:
        return f"override {group}= names no preset; write {group}=<name> or, to remove it, ~{group}."
    place = f"override {group}={name}" if _is_overridden(group, overrides) else f"recipe {recipe}: /{path} in its defaults"
    parts = group.split("/")
    if len(parts) == 2 and parts[0] not in ("hydra", *OWN_KEYS) and parts[1] not in SLOTS:
        return f"{place} names nothing: {parts[1]!r} is not a part of a branch.{nearest(parts[1], SLOTS)}" \
               f" A branch holds {', '.join(SLOTS)}."
    known = list(recipe_files())
    return f"{place} names nothing: there is no recipe, preset or YAML beside it of that name.{nearest(path, known)}" \
           f" Recipes: {', '.join(known)}."


def _duplicate_pick(group: str, recipe: str, overrides: Sequence[str]) -> str:
    if any(o.startswith(f"+{group}=") for o in overrides):
        return f"+{group} adds what recipe {recipe} already has; leave out the plus sign to replace it."
    return f"recipe {recipe} picks {group} twice; write `override /{group}: <name>` in its defaults to replace the first."


def _group_as_key(recipe: str, overrides: Sequence[str]) -> str:
    for override in overrides:
        key, _, value = override.partition("=")
        if "/" not in key and "." not in key and re.fullmatch(r"null|true|false|[\d.e+-]+|[\[{].*", value, re.IGNORECASE):
            return f"{key} cannot be {value}, because it holds components; pick one by name, or remove it with ~{key}."
    return f"recipe {recipe}: a number stands where a component's name must be; write `branch/kind: <name>`."


def _no_such_key(key: str, recipe: str, overrides: Sequence[str], compose: Compose) -> str:
    """Name the first word of a path that the recipe with the picked components lacks, and the nearest one it has."""
    try:
        node: object = compose([o for o in overrides if "/" in o.partition("=")[0] and not _is_overridden(key, [o])])
    except OmnikitError as error:  # the recipe itself is broken: that comes first
        return str(error)
    path = key.replace("/", ".").split(".")
    for depth, word in enumerate(path):
        known = [str(k) for k in node] if isinstance(node, DictConfig) else []
        if word not in known and word in SLOTS and "/" in key:
            return f"recipe {recipe} picks no {key}; write +{key}=<name> to add one."
        if word not in known:
            where = ".".join(path[:depth]) or f"recipe {recipe}"
            what = f"{key} names nothing: {where} has no {word!r}.{nearest(word, known)}"
            return f"{what} It has: {', '.join(known) or 'no keys'}{'; a new branch is added with +.' if not depth else '.'}"
        assert isinstance(node, DictConfig), "known is empty otherwise"
        node = node._get_node(word)
    if "/" not in key:
        if parts := [slot for slot in SLOTS if isinstance(node, DictConfig) and slot in node]:
            return f"{key} is a branch, which is removed part by part: {' '.join(f'~{key}/{slot}' for slot in parts)}."
        if isinstance(node, DictConfig) and "use" not in node:
            own = ", ".join(map(str, node)) or "none"
            return f"{key} lacks a key that is given; write +{key}=… to add keys. It has: {own}."
        return f"{key} cannot be overridden that way; set a field of it."
    return f"{key} is not picked in the defaults of recipe {recipe}, but set there field by field; set its fields with" \
           f" dots, or pick a component with +{key}=<name>."


def _is_overridden(key: str, overrides: Sequence[str]) -> bool:
    return any(o.lstrip("+~").partition("=")[0].partition("@")[0] == key for o in overrides)


def _first_line(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if not line.endswith("raised while composing config:")]
    return lines[0].rstrip(".") if lines else "it is not a value for this key"
