"""The fields of a JSON object from a client; each error names the field, what was found and what was expected."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from typing import TypeAlias

from omnikit.errors import OmnikitError, nearest

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
JsonObject: TypeAlias = dict[str, Json]

MAX_DEPTH = 32  # of objects and lists in one another
MAX_SHOWN = 40  # characters of a value in a message


class ProtocolError(OmnikitError):
    """A request that does not follow the protocol, or that the model cannot answer.

    Args:
        code: OpenAI's word for it, for example "invalid_value".
        param: the field, with dots.
        kind: the error's type on the wire.
        status: of an HTTP answer.
    """

    def __init__(self, message: str, code: str = "invalid_value", param: str | None = None, *,
                 kind: str = "invalid_request_error", status: int = 400) -> None:
        super().__init__(message)
        self.code, self.param, self.kind, self.status = code, param, kind, status

    def body(self) -> JsonObject:
        """Give the error as OpenAI's routes do."""
        return {"message": str(self), "type": self.kind, "code": self.code, "param": self.param}


def parse_object(data: str | bytes) -> JsonObject:
    """Parse the JSON object of a request or a message.

    Raises:
        ProtocolError: the data are not JSON, nested too deeply, not an object, or hold NaN.
    """
    try:
        value = json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise ProtocolError("The message is not valid JSON; send one JSON object.", "invalid_json") from None
    if not isinstance(value, dict):
        raise ProtocolError(f"The message is {shown(value)}, but must be a JSON object.", "invalid_json")
    if _depth(value) > MAX_DEPTH:
        raise ProtocolError(f"The message is nested more than {MAX_DEPTH} deep; send a flatter one.", "invalid_json")
    return value


def shown(value: object) -> str:
    """Give a value as a message shows it, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, str | int | float | bool | None) else (
        "a list" if isinstance(value, list) else "an object")
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


class Fields:
    """Reads the fields of one JSON object.

    Args:
        where: of the object itself, before the names of its fields.
    """

    def __init__(self, values: Mapping[str, Json], where: str = "") -> None:
        self.values, self.where = values, where

    def name(self, field: str) -> str:
        """Give a field with where it stands."""
        return f"{self.where}.{field}" if self.where else field

    def has(self, field: str) -> bool:
        """Give whether a field is there and not null."""
        return self.values.get(field) is not None

    def refuse_others(self, known: Collection[str]) -> None:
        """Refuse fields that are not known."""
        for field in self.values:
            if field not in known:
                place = self.name(field)
                raise ProtocolError(f"Unknown parameter: {place[:80]!r}.{nearest(field[:80], known)}", "unknown_parameter",
                                    place[:80])

    def text(self, field: str, default: str | None = None) -> str:
        """Give a text; without a default it is required."""
        value = self._value(field, default)
        if not isinstance(value, str):
            raise self.error(field, "a text", "invalid_type")
        if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise self.error(field, "a text of whole characters", found="a text with half of a surrogate pair")
        return value

    def optional_text(self, field: str) -> str | None:
        """Give a text or None."""
        return self.text(field) if self.has(field) else None

    def choice(self, field: str, allowed: Collection[str], default: str | None = None) -> str:
        """Give one of the allowed texts."""
        value = self.text(field, default)
        if value not in allowed:
            raise self.error(field, f"one of {', '.join(map(repr, allowed))}")
        return value

    def flag(self, field: str, default: bool) -> bool:
        """Give true or false."""
        value = self._value(field, default)
        if not isinstance(value, bool):
            raise self.error(field, "true or false", "invalid_type")
        return value

    def integer(self, field: str, least: int, most: int, default: int | None = None) -> int:
        """Give a whole number in a range; without a default it is required."""
        value = self._value(field, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.error(field, "a whole number", "invalid_type")
        if not least <= value <= most:
            raise self.error(field, f"from {least} to {most}")
        return value

    def optional_integer(self, field: str, least: int, most: int) -> int | None:
        """Give a whole number in a range, or None."""
        return self.integer(field, least, most) if self.has(field) else None

    def number(self, field: str, least: float, most: float, default: float | None = None) -> float:
        """Give a number in a range; without a default it is required."""
        value = self._value(field, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.error(field, "a number", "invalid_type")
        if not (math.isfinite(value) and least <= value <= most):
            raise self.error(field, f"from {least:g} to {most:g}")
        return float(value)

    def optional_number(self, field: str, least: float, most: float) -> float | None:
        """Give a number in a range, or None."""
        return self.number(field, least, most) if self.has(field) else None

    def object(self, field: str) -> Fields:
        """Give the fields of an object, which is required."""
        value = self._value(field, None)
        if not isinstance(value, dict):
            raise self.error(field, "an object", "invalid_type")
        return Fields(value, self.name(field))

    def optional_object(self, field: str) -> Fields | None:
        """Give the fields of an object, or None."""
        return self.object(field) if self.has(field) else None

    def objects(self, field: str, most: int) -> list[Fields]:
        """Give the objects of a list, which is required."""
        value = self.list(field, most)
        found = []
        for index, one in enumerate(value):
            if not isinstance(one, dict):
                raise self.error(f"{field}[{index}]", "an object", "invalid_type", one)
            found.append(Fields(one, f"{self.name(field)}[{index}]"))
        return found

    def list(self, field: str, most: int) -> list[Json]:
        """Give a list, which is required."""
        value = self._value(field, None)
        if not isinstance(value, list):
            raise self.error(field, "a list", "invalid_type")
        if len(value) > most:
            raise self.error(field, f"a list of at most {most}", found=f"a list of {len(value)}")
        return value

    def error(self, field: str, expected: str, code: str = "invalid_value", value: Json = None, *,
              found: str | None = None) -> ProtocolError:
        """Give the error of a field's value."""
        place, value = self.name(field), self.values.get(field, value)
        return ProtocolError(f"Invalid value: {place!r} is {found or shown(value)}, but must be {expected}.", code, place)

    def _value(self, field: str, default: Json) -> Json:
        value = self.values.get(field)
        if value is None:
            value = default
        if value is None:
            place = self.name(field)
            raise ProtocolError(f"Missing required parameter: {place!r}.", "missing_required_parameter", place)
        return value


def _depth(value: Json) -> int:
    """Give how deeply objects and lists are nested, without recursion."""
    level, depth = [value], 0
    while level:
        depth += 1
        level = [inner for one in level if isinstance(one, dict | list)
                 for inner in (one.values() if isinstance(one, dict) else one)]
    return depth


def _refuse_constant(text: str) -> None:
    raise ValueError(text)
