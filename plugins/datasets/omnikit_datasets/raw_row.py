"""A row as its file holds it, before it is a sample: keys and values, its place, and the media that it names."""

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn
from urllib.parse import unquote, urlsplit

from omnikit.contracts.types import ContentPart
from omnikit.errors import DataError

REMOTE = ("http", "https", "s3", "gs", "hf", "ftp")


@dataclass(frozen=True)
class RawRow:
    """One row.

    Args:
        values: key → value, as the file holds them; bytes where media are embedded.
        place: file and row, for sentences.
        name: the row's id where it has none of its own.
        root: folder that relative media paths start from.
        members: name → reader of a media file that lies in the same shard.
    """

    values: Mapping[str, object]
    place: str
    name: str
    root: Path
    members: Mapping[str, Callable[[], bytes]] = field(default_factory=dict)

    def refuse(self, where: str, found: object, expected: str, kind: str = "wrong type") -> NoReturn:
        """Raise DataError."""
        shown = "missing" if found is None else json.dumps(found, ensure_ascii=False, default=_shown)[:60]
        raise DataError(f"{self.place}: {where} is {shown}, but must be {expected}.", kind=kind)

    def medium(self, kind: str, value: object, where: str, text: str | None = None) -> ContentPart:
        """Give a media part of a path, a data URL, bytes, or {"bytes", "path"} as Hugging Face stores media."""
        if isinstance(value, Mapping):
            data = value.get("bytes")
            value = data if data is not None else value.get("path", value.get("url"))
        if isinstance(value, bytes):
            return ContentPart(kind, text, data=value)
        if not isinstance(value, str) or not value:
            self.refuse(where, value, f"the path of {'an' if kind != 'video' else 'a'} {kind} file")
        if value.startswith("data:"):
            return ContentPart(kind, text, data=self.decoded(value.partition(",")[2], where))
        if value in self.members:
            return ContentPart(kind, text, data=self.members[value]())
        return ContentPart(kind, text, str(self.file(value, where)))

    def file(self, value: str, where: str) -> Path:
        """Give the path of a file that is there."""
        scheme = urlsplit(value).scheme if "://" in value else ""
        if scheme in REMOTE:
            raise DataError(f"{self.place}: {where} is {value[:80]!r}, which lies on another machine; download it and name the"
                            " file.", kind="remote file")
        path = self.root / Path(unquote(urlsplit(value).path) if scheme == "file" else value).expanduser()
        try:
            if path.is_file():
                return path
        except (OSError, ValueError):  # a name that no file can have: too long, or with a null byte
            self.refuse(where, value, "the path of a file")
        raise DataError(f"{self.place}: {where} is {value[:200]!r}, but there is no file {path}; fix it or `root`.",
                        kind="missing file")

    def decoded(self, text: object, where: str) -> bytes:
        """Give the bytes of base64."""
        try:
            return base64.b64decode(text if isinstance(text, str) else "-", validate=True)
        except (binascii.Error, ValueError):
            self.refuse(where, text, "media as base64")

    def text(self, value: object, where: str) -> str:
        """Give a text."""
        if not isinstance(value, str):
            self.refuse(where, value, "a text")
        return value

    def list(self, *keys: str) -> list[object]:
        """Give the values under the first of the keys that is there: one, a list, or none."""
        value = self.first(*keys)
        return list(value) if isinstance(value, list) else [] if value in (None, "") else [value]

    def first(self, *keys: str) -> object:
        """Give the value under the first of the keys that is there."""
        return next((self.values[key] for key in keys if self.values.get(key) is not None), None)


def _shown(value: object) -> str:
    return f"{len(value)} bytes" if isinstance(value, bytes) else str(value)
