"""Damaged configurations: typing errors, wrong types and YAML's oddities in the shipped recipes and presets; seeded."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from typing import Any

UNEXPECTED_TEXTS = (
    "yes", "No", "on", "12:30", "010", "0x1F", "0o17", "1_000", "1e20", "1e400", "-1", ".nan", "-.inf", "[]", "{}", "null",
    "~", '""', "'???'", "'${seed}'", "'${oc.env:HOME}'", "'${'", "'$'", "*a", "&a 3", "!!python/name:os.system",
    "!!binary aGk=", "2001-12-14", "=", "<<", "|", ">", "- 3", "? x", ": :", "@x", "`x`", "%x", "\t", "'é\u0000'", "\u2028",
    "'\ud83d'", "x" * 300, "[[[[1]]]]", "{a: {b: {c: 1}}}", "3 # c", "'None'", "true", "/etc/passwd", "../..", "_target_",
    "1.5", "-0.0", "999999999999999999999999")
UNEXPECTED_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**63, -(2**40), 10**30, 0.0, -0.5, 1e308, float("nan"), float("inf"), "", " ", "yes",
    "None", "???", "${seed}", "${nothing.there}", "${oc.env:HOME}", "a" * 200, "x/y", "../x", "é", "\ud83d", "1", "0.5",
    "[1]", [], [None], [1, "a"], [[]], [{}], {}, {"a": 1}, {"use": "nothing"}, {"_target_": "os.system"}, {"": 0}, {1: 2},
    {None: 1}, {"a": {"b": {"c": {}}}, })
LETTERS = "abcdefghijklmnopqrstuvwxyz_0123456789"


def damaged_text(text: str, draw: random.Random) -> str:
    """Give a YAML text with one to three errors of the kinds that fingers and other tools make."""
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        lines = text.splitlines()
        at = draw.randrange(len(lines))
        lines[at:at + 1] = draw.choice(TEXT_ERRORS)(lines[at], lines, draw)
        text = "\n".join(lines) + "\n"
    return text


def damaged_tree(tree: Mapping[str, Any], draw: random.Random) -> dict[str, Any]:
    """Give a copy of a composed tree with one to three keys or values of another kind."""
    found: dict[str, Any] = deepcopy(dict(tree))
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        holder, key = draw.choice(list(_positions(found)))
        draw.choice(TREE_ERRORS)(holder, key, draw)
    return found


def damaged_overrides(tree: Mapping[str, Any], draw: random.Random) -> list[str]:
    """Give one to three overrides of keys that a recipe has, or nearly has, with unexpected values."""
    paths = list(_paths(tree))
    found = []
    for _ in range(draw.choice((1, 1, 2, 3))):
        path = draw.choice(paths)
        if draw.random() < 0.3:
            path = _typo(path, draw)
        sign = draw.choice(("", "", "", "", "+", "++", "~"))
        separator = draw.choice(("=", "=", "=", "=", "", "==", ":", "@"))
        found.append(f"{sign}{path.replace('.', draw.choice('.../'))}{separator}{draw.choice(UNEXPECTED_TEXTS)}")
    return found


TextError = Callable[[str, list[str], random.Random], list[str]]
TEXT_ERRORS: tuple[TextError, ...] = (
    lambda line, lines, draw: [_typo(line, draw)],
    lambda line, lines, draw: [],
    lambda line, lines, draw: [line, line],
    lambda line, lines, draw: [" " * draw.randint(1, 4) + line],
    lambda line, lines, draw: [line.lstrip()],
    lambda line, lines, draw: [draw.choice(lines), line],
    lambda line, lines, draw: [line.partition(":")[0] + ": " + draw.choice(UNEXPECTED_TEXTS)],
    lambda line, lines, draw: [line.partition(":")[0] + ": " + draw.choice(UNEXPECTED_TEXTS)],
    lambda line, lines, draw: [line.replace(": ", draw.choice((":", ": - ", " : ", ":: ", ":\t", ": |\n")), 1)],
    lambda line, lines, draw: [line[:draw.randint(0, len(line))]],
    lambda line, lines, draw: [line.replace(draw.choice("{}[],:-/"), draw.choice("{}[],:-/ "), 1)],
    lambda line, lines, draw: [line, " " * (len(line) - len(line.lstrip()))
                               + _word(draw) + ": " + draw.choice(UNEXPECTED_TEXTS)],
)


def _retype(holder: Any, key: Any, draw: random.Random) -> None:
    holder[key] = deepcopy(draw.choice(UNEXPECTED_VALUES))


def _rename(holder: Any, key: Any, draw: random.Random) -> None:
    if isinstance(holder, dict):
        holder[_typo(str(key), draw)] = holder.pop(key)
    else:
        holder.append(deepcopy(holder[key]))


def _remove(holder: Any, key: Any, _: random.Random) -> None:
    del holder[key]


def _wrap(holder: Any, key: Any, draw: random.Random) -> None:
    holder[key] = draw.choice((lambda one: [one], lambda one: {"x": one}, str, lambda one: [one, one]))(holder[key])


TREE_ERRORS: tuple[Callable[[Any, Any, random.Random], None], ...] = (_retype, _retype, _retype, _rename, _remove, _wrap)


def _positions(node: Any) -> Iterator[tuple[Any, Any]]:
    """Give (mapping or list, key) of every value."""
    for key, value in list(node.items() if isinstance(node, dict) else enumerate(node)):
        yield node, key
        if isinstance(value, dict | list):
            yield from _positions(value)


def _paths(tree: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for key, value in tree.items():
        yield f"{above}{key}"
        if isinstance(value, Mapping):
            yield from _paths(value, f"{above}{key}.")


def _typo(text: str, draw: random.Random) -> str:
    at = draw.randint(0, max(0, len(text) - 1))
    return draw.choice((text[:at] + text[at + 1:], text[:at] + draw.choice(LETTERS) + text[at:],
                        text[:at] + text[at:at + 2][::-1] + text[at + 2:], text[:at] + text[at:].swapcase()))


def _word(draw: random.Random) -> str:
    return "".join(draw.choices(LETTERS, k=draw.randint(1, 6)))
