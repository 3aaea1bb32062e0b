"""Scenarios that are played several times with other texts, voices and levels: `vary` in their file, expanded here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omnikit.errors import ConfigError


def expanded(content: Mapping[str, Any], where: str, limit: int | None = None) -> list[dict[str, Any]]:
    """Give a scenario's variants, at most `limit`, each as a scenario of its own with `group`; without `vary` itself alone.

    `vary` has lists by name; "{name}" in the scenario stands for their entries. A shorter list begins again.

    Raises:
        ConfigError: `vary` is not a mapping of lists, or a name is unknown.
    """
    plain = {name: value for name, value in content.items() if name != "vary"}
    if "vary" not in content:
        return [plain]
    vary = content["vary"]
    if not isinstance(vary, Mapping) or not vary or not all(isinstance(one, list) and one for one in vary.values()):
        raise ConfigError(f"{where}.vary is {vary!r}, but must be a mapping of names to lists with what they stand for.")
    count = max(map(len, vary.values()))
    found = []
    for number in range(count if limit is None else min(count, limit)):
        values = {str(name): listed[number % len(listed)] for name, listed in vary.items()}
        made = _filled(plain, values, where)
        found.append({**made, "id": f"{plain.get('id')}-{number + 1:02}", "group": str(plain.get("id"))})
    return found


def _filled(value: Any, values: Mapping[str, Any], where: str) -> Any:
    """Put the values in their places; a text that is nothing but one place becomes the value itself, a number for example."""
    if isinstance(value, Mapping):
        return {name: _filled(one, values, where) for name, one in value.items()}
    if isinstance(value, list):
        return [_filled(one, values, where) for one in value]
    if not isinstance(value, str) or "{" not in value:
        return value
    if value[0] == "{" and value[1:-1] in values and value[-1] == "}":
        return values[value[1:-1]]
    try:
        return value.format(**values)
    except (LookupError, ValueError):
        raise ConfigError(f"{where}: {value!r} has a name in braces that vary lacks; it has {', '.join(values)}.") from None
