"""The public members of a component's class beside those that its kind requires and may have: lacking, misspelt, extra."""

from dataclasses import fields
from difflib import get_close_matches
from typing import Any

from omnikit.contracts.builders import BuilderConfig
from omnikit.contracts.configs import (
    BackboneConfig,
    CodecConfig,
    EncoderConfig,
    FusionProjectorConfig,
    HeadConfig,
    ImporterConfig,
    NormaliserConfig,
    ProjectorConfig,
    ReaderConfig,
    TTSConfig,
    VADConfig,
)
from omnikit.contracts.optional import OPTIONS

ROLES: dict[str, type] = {"encoder": EncoderConfig, "projector": ProjectorConfig, "backbone": BackboneConfig, "vad": VADConfig,
                          "head": HeadConfig, "codec": CodecConfig, "reader": ReaderConfig, "tts": TTSConfig,
                          "importer": ImporterConfig, "builder": BuilderConfig, "normaliser": NormaliserConfig}
INSTEAD: dict[str, type] = {"projector": FusionProjectorConfig}
"""Kind → another role that a component of it may have instead, or as well."""
CLOSE = 0.85  # similarity above which a member counts as a slip of the pen: `unreachble`, `pack`, `end`


def lacking(kind: str, cls: type[Any]) -> tuple[str, ...]:
    """Give the required members of a kind that a component's class lacks."""
    own = {item.name for item in fields(cls)}  # a field without a default is no attribute of its class
    missing = tuple(name for name in required(kind) if name not in own and not hasattr(cls, name))
    instead = tuple(name for name in _members(INSTEAD.get(kind, object)) if not hasattr(cls, name))
    return () if kind in INSTEAD and not instead else missing


def misspelt(kind: str, cls: type[Any]) -> dict[str, str]:
    """Give public members that are neither settings nor known, but almost spelt like an optional one: name → that one."""
    optional = [name for name in _optional(kind) if name not in _names(cls)]
    close = {name: get_close_matches(name, optional, n=1, cutoff=CLOSE) for name in extra(kind, cls)}
    return {name: found[0] for name, found in close.items() if found}


def extra(kind: str, cls: type[Any]) -> tuple[str, ...]:
    """Give the public members of a component's class that are neither settings nor read by the toolkit."""
    known = {*required(kind), *_members(INSTEAD.get(kind, object)), *_optional(kind), *(item.name for item in fields(cls))}
    return tuple(sorted(name for name in _names(cls) if name not in known))


def required(kind: str) -> tuple[str, ...]:
    """Give the members that each component of a kind has."""
    return _members(ROLES.get(kind, object))


def _members(role: type) -> tuple[str, ...]:
    return tuple(name for name in vars(role) if not name.startswith("_"))


def _optional(kind: str) -> tuple[str, ...]:
    return tuple(item.name for item in fields(OPTIONS[kind])) if kind in OPTIONS else ()


def _names(cls: type[Any]) -> set[str]:
    """Give the public names of a class and its bases, its settings too."""
    found = {name for base in cls.__mro__[:-1] for name in vars(base) if not name.startswith("_")}
    return found | {item.name for item in fields(cls)}
