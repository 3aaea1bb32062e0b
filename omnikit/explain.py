"""Hydra's and OmegaConf's complaints as one sentence each: which override or key, what is near, what to do."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from omnikit.errors import ConfigError, nearest


@contextmanager
def explained(recipe: str, overrides: Sequence[str]) -> Iterator[None]:
    """Turn what Hydra raises while composing `recipe` into ConfigError; our own errors pass through."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_sentence(error, recipe, overrides)) from error


def _sentence(error: Exception, recipe: str, overrides: Sequence[str]) -> str:
    text = str(error)
    if isinstance(error, OverrideParseException):
        return f"override {error.override!r} cannot be read: {_first_line(text)}; write key=value."
    key = re.search(r"Could not override '([^']+)'", text)
    if key:
        return _no_such_key(key.group(1), recipe, "/" in key.group(1))
    merged = re.search(r"Error merging override (\S+)", text)
    if merged:
        return _bad_value(merged.group(1), error.__cause__ or error, recipe)
    typed = re.search(r"full_key: (\S+)", text)
    if typed:
        return _bad_value(typed.group(1), error, recipe)
    return f"recipe {recipe} cannot be composed: {_first_line(text)}."


def _bad_value(override: str, cause: BaseException, recipe: str) -> str:
    key, _, value = override.partition("=")
    text = str(cause)
    wrong = re.search(r"Value '(.*)' of type '\w+' could not be converted to (\w+)", text)
    if wrong:
        words = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}
        return f"{key} is {wrong.group(1)!r}, but must be {words.get(wrong.group(2), wrong.group(2).lower())}."
    if "not a subclass of Stage" in text:
        stage = ".".join(key.lstrip("+").split(".")[:2])
        return f"{key} sets one key of a stage that is not there; give it whole, +{stage}={{train: …}}, or in a YAML."
    if "not in" in text and "Key" in text:
        return _no_such_key(key.lstrip("+"), recipe, group=False)
    return f"{key} cannot be set{f' to {value!r}' if value else ''}: {_first_line(text)}."


def _no_such_key(key: str, recipe: str, group: bool) -> str:
    """Name the first word of a path that the recipe lacks, and the nearest one it has."""
    path = key.partition("=")[0].replace("/", ".").split(".")
    node: object = _tree(recipe)
    for depth, word in enumerate(path):
        known = [str(k) for k in node] if isinstance(node, DictConfig) else []
        if word not in known:
            where = ".".join(path[:depth]) or f"recipe {recipe}"
            what = f"{key} names nothing: {where} has no {word!r}.{nearest(word, known)}"
            return f"{what} It has: {', '.join(known) or 'no keys'}{'; a new branch is added with +.' if not depth else '.'}"
        assert isinstance(node, DictConfig), "known is empty otherwise"
        node = node._get_node(word)
    advice = f"it is set in the recipe itself; set its fields with dots, or add +{key}" if group else "set a field of it"
    return f"{key} cannot be overridden that way: {advice}."


def _tree(recipe: str) -> DictConfig:
    """Compose the recipe alone, to see which keys it has; an empty tree if the recipe itself is broken."""
    from omnikit.config import compose_tree  # this module explains what compose_tree raises

    try:
        return compose_tree(recipe)
    except ConfigError:
        return OmegaConf.create({})


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0].rstrip(".")
