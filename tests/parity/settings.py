"""Settings of a case that record which of them were read, so that a replay can name those that changed nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


class Settings(dict[str, Any]):
    """A mapping of JSON, with mappings inside; whoever goes over all pairs has read the scalars."""

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__({key: Settings(value) if isinstance(value, dict) else value for key, value in values.items()})
        self._read: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self._read.add(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        """Give a value, or the default."""
        self._read.add(key)
        return super().get(key, default)

    def values(self) -> Any:
        """Give all values."""
        self._read_all()
        return super().values()

    def items(self) -> Any:
        """Give all pairs."""
        self._read_all()
        return super().items()

    def __iter__(self) -> Iterator[str]:
        self._read_all()  # also of {**settings}
        return super().__iter__()

    def _read_all(self) -> None:
        self._read |= set(dict.keys(self))  # mappings inside record their own

    def unread(self, above: str = "") -> list[str]:
        """Give the dotted names of what was not read."""
        found = []
        for key, value in dict.items(self):
            if isinstance(value, Settings):
                found += value.unread(f"{above}{key}.")
            elif key not in self._read:
                found.append(f"{above}{key}")
        return found
