"""Mappings from YAML become dataclasses here: types checked, unknown keys refused, every error collected.

Imports neither Hydra nor any component. One rule for all: a dataclass's fields are its configuration.
"""

import math
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, field, fields, is_dataclass, make_dataclass
from fractions import Fraction
from functools import cache
from typing import Any, Literal, TypeVar, Union

from omnikit.errors import nearest

T = TypeVar("T")
LARGEST = 2.0**53  # beyond which floats skip whole numbers
MISSING_VALUE = "???"  # Hydra's mark for a value that must still be given
_TYPE_NAMES = {int: "a whole number", float: "a number", str: "a word", bool: "true or false", Fraction: "a fraction"}


def construct(cls: type[T], values: Mapping[str, Any], where: str, errors: list[str]) -> T | None:
    """Build a dataclass from a mapping; append one sentence to `errors` for each error and give None if there was one.

    Args:
        cls: dataclass whose field types are resolvable.
        values: the mapping, as YAML gave it.
        where: dotted path of the mapping, for the sentences.
        errors: collects the sentences.
    """
    before = len(errors)
    if not isinstance(values, Mapping):  # a YAML may hold anything
        _check(False, values, cls, where, errors)
        return None
    hints = typing.get_type_hints(cls)
    known = {f.name: f for f in fields(cls) if f.init}  # type: ignore[arg-type]  # T is a dataclass by contract
    for key in values:
        if key not in known:
            errors.append(f"{where}.{key} is not a field of {cls.__name__}.{nearest(str(key), known)}"
                          f" It has: {', '.join(sorted(known)) or 'no fields'}.")
    arguments = {}
    for name, item in known.items():
        if name in values and values[name] != MISSING_VALUE:
            arguments[name] = convert(values[name], hints[name], f"{where}.{name}", errors)
        elif _default(item) is MISSING:
            errors.append(f"{where}.{name} is missing, but {cls.__name__} needs {_expected(hints[name])} there.")
    if len(errors) > before:
        return None
    try:
        return cls(**arguments)
    except (ValueError, TypeError) as error:
        errors.append(f"{where}: {_sentence(str(error))}")
        return None


def convert(value: Any, kind: Any, where: str, errors: list[str]) -> Any:
    """Give `value` as `kind` (a field's type); append a sentence to `errors` if it cannot be."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any or kind is object:
        return value
    if origin in (Union, types.UnionType):
        return _convert_union(value, arguments, where, errors)
    if origin is Literal:
        return _check(value in arguments, value, kind, where, errors)
    if origin is tuple:
        return _convert_tuple(value, arguments, where, errors)
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping):
            return _check(False, value, kind, where, errors)
        return {str(k): convert(v, arguments[1], f"{where}.{k}", errors) for k, v in value.items()}
    if is_dataclass(kind) and isinstance(kind, type) and isinstance(value, Mapping):
        return construct(kind, value, where, errors)
    return _convert_scalar(value, kind, where, errors)


def defaults(cls: type) -> dict[str, Any]:
    """Give the defaults of a dataclass as YAML would hold them; a field without a default is MISSING_VALUE."""
    values = {f.name: _default(f) for f in fields(cls) if f.init}
    return {name: MISSING_VALUE if value is MISSING else plain(value) for name, value in values.items()}


def plain(value: Any) -> Any:
    """Give a value as YAML would hold it: dataclasses and mappings as dicts, tuples as lists, fractions as text."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value) if f.init}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [plain(v) for v in value]
    return str(value) if isinstance(value, Fraction) else value


def key_paths(key: str, values: object, where: str = "") -> list[str]:
    """List the dotted paths at which `key` occurs in nested mappings and lists."""
    if isinstance(values, Mapping):
        inside = [p for k, v in values.items() for p in key_paths(key, v, f"{where}.{k}".lstrip("."))]
        return [f"{where}.{key}".lstrip("."), *inside] if key in values else inside
    if isinstance(values, list):
        return [p for i, v in enumerate(values) for p in key_paths(key, v, f"{where}[{i}]")]
    return []


def leaves(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Give (dotted path, value) of all that is not a mapping in nested mappings."""
    for key, value in values.items():
        path = f"{above}.{key}".lstrip(".")
        if isinstance(value, Mapping):
            yield from leaves(value, path)
        else:
            yield path, value


def _default(item: "Field[Any]") -> Any:
    return item.default_factory() if item.default_factory is not MISSING else item.default


def _convert_union(value: Any, kinds: tuple[Any, ...], where: str, errors: list[str]) -> Any:
    if value is None and type(None) in kinds:
        return None
    attempts: list[list[str]] = []
    for kind in kinds:
        if kind is not type(None):
            attempts.append([])
            result = convert(value, kind, where, attempts[-1])
            if not attempts[-1]:
                return result
    errors.extend(attempts[0] if len(attempts) == 1 else [_wrong(value, Union[kinds], where)])  # noqa: UP007  # made at run time
    return value


def _convert_tuple(value: Any, kinds: tuple[Any, ...], where: str, errors: list[str]) -> Any:
    if isinstance(value, str) or not isinstance(value, list | tuple):
        errors.append(f"{where} is {value!r}, but must be a list.")
        return value
    if kinds[-1:] != (Ellipsis,) and len(kinds) != len(value):
        errors.append(f"{where} has {len(value)} values, but must have {len(kinds)}.")
        return value
    item = [kinds[0]] * len(value) if kinds[-1:] == (Ellipsis,) else kinds
    return tuple(convert(v, kind, f"{where}[{i}]", errors) for i, (v, kind) in enumerate(zip(value, item, strict=True)))


def _convert_scalar(value: Any, kind: Any, where: str, errors: list[str]) -> Any:
    if isinstance(value, int | float | str) and (flaw := _flaw(value)):
        errors.append(f"{where} is {value!r}, but must be {flaw}.")
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is Fraction and isinstance(value, int | float | str):
        try:
            return Fraction(str(value))
        except (ValueError, ZeroDivisionError):
            return _check(False, value, kind, where, errors)
    right = isinstance(value, kind) and not (kind is not bool and isinstance(value, bool))
    return _check(right, value, kind, where, errors)


def _flaw(value: float | str) -> str:
    """Give what a scalar must be, whatever it is for, and is not; "" where nothing is wrong."""
    if isinstance(value, str):
        return "a text of whole characters" if any("\ud800" <= one <= "\udfff" for one in value) else ""
    if isinstance(value, float) and not math.isfinite(value):
        return "a finite number"
    return f"a number within ±{LARGEST:g}" if abs(value) > LARGEST else ""


def _check(right: bool, value: Any, kind: Any, where: str, errors: list[str]) -> Any:
    if not right:
        errors.append(_wrong(value, kind, where))
    return value


def _wrong(value: Any, kind: Any, where: str) -> str:
    hint = ""
    if typing.get_origin(kind) is Literal and isinstance(value, str):
        hint = nearest(value, [str(a) for a in typing.get_args(kind)])
    shown = value if value is None or isinstance(value, int | float) else repr(value)
    return f"{where} is {shown}, but must be {_expected(kind)}.{hint}"


def _expected(kind: Any) -> str:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return "one of " + ", ".join(str(a) for a in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join("empty (null)" if a is type(None) else _expected(a) for a in arguments)
    if origin is tuple:
        return "a list"
    if origin in (dict, Mapping) or is_dataclass(kind):
        return "a mapping"
    return _TYPE_NAMES.get(kind, getattr(kind, "__name__", str(kind)))


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?")) else text + "."


@cache
def editable(cls: type) -> type:
    """Give a copy of a dataclass that OmegaConf can hold: not frozen, Literals as their value's type, dataclasses likewise.

    Numbers and booleans stay as they were written, for `convert`: OmegaConf would read the texts 1_000 and yes as such.
    """
    hints = typing.get_type_hints(cls)
    parts = [(f.name, _editable_type(hints[f.name]), _editable_default(f, hints[f.name])) for f in fields(cls) if f.init]
    return make_dataclass(cls.__name__, parts)


def _editable_type(kind: Any) -> Any:
    if typing.get_origin(kind) is Literal:
        return type(typing.get_args(kind)[0])
    if typing.get_origin(kind) is dict:
        return dict[str, Any]
    if {int, float, bool}.intersection(typing.get_args(kind) or (kind,)) and typing.get_origin(kind) is not tuple:
        return Any
    return editable(kind) if is_dataclass(kind) and isinstance(kind, type) else kind


def _editable_default(item: "Field[Any]", kind: Any) -> "Field[Any]":
    if is_dataclass(kind) and isinstance(kind, type):
        nested: Field[Any] = field(default_factory=_editable_type(kind))
        return nested
    copied: Field[Any] = field(default=item.default, default_factory=item.default_factory)  # type: ignore[call-overload]  # one of the two is MISSING
    return copied
