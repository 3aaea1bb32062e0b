"""Readers: a source of rows and a layout of them give samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from omnikit.contracts.types import Sample
from omnikit.errors import ConfigError
from omnikit_datasets.columns import Columns
from omnikit_datasets.conversation import conversation, is_conversation
from omnikit_datasets.raw_row import RawRow

Layout = Callable[[RawRow], Sample]


class Source(Protocol):
    """Rows by index, with the place of each for sentences."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Mapping[str, object]: ...
    def place(self, index: int) -> str: ...


class RowReader:
    """Samples by index; a broken row raises DataError when it is asked for.

    Args:
        rows: the source.
        layout: makes a sample of a row.
        root: folder that relative media paths start from.
    """

    def __init__(self, rows: Source, layout: Layout, root: Path) -> None:
        self.rows, self.layout, self.root = rows, layout, root

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Sample:
        return self.layout(RawRow(self.rows[index], self.rows.place(index), str(index), self.root))


class ShardReader:
    """Samples of tar shards by index; the rows' paths may name files of the same sample."""

    def __init__(self, rows: TarSource, layout: Layout, root: Path) -> None:
        self.rows, self.layout, self.root = rows, layout, root

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Sample:
        row = RawRow(self.rows[index], self.rows.place(index), self.rows.name(index), self.root, self.rows.members(index))
        return self.layout(row)


class TarSource(Source, Protocol):
    """Rows with files beside them."""

    def name(self, index: int) -> str: ...
    def members(self, index: int) -> Mapping[str, Callable[[], bytes]]: ...


@dataclass(frozen=True)
class TurnsOrColumns:
    """A layout that takes turns where a row has them, else columns."""

    columns: Columns

    def __call__(self, row: RawRow) -> Sample:
        is_turns = not self.columns.columns and is_conversation(row.values)
        return conversation(row) if is_turns else self.columns.sample(row)


def rows_file(path: str, split: str | None, endings: tuple[str, ...]) -> Path:
    """Give the file that `path` and `split` name; raises ConfigError for a folder without `split`."""
    found = Path(path).expanduser()
    if found.is_dir():
        if split is None:
            raise ConfigError(f"path is the folder {found}, but split is empty; set split to the name of a file in it.")
        files = [found / f"{split}{ending}" for ending in endings]
        return next((file for file in files if file.is_file()), files[0])
    if split is not None and found.is_file():
        raise ConfigError(f"split is {split!r}, but path is the single file {found}; give the folder instead.")
    return found


def root_of(root: str | None, file: Path) -> Path:
    """Give the folder that media paths start from: `root`, else the file's."""
    return Path(root).expanduser() if root else file.parent


__all__ = ["Columns", "RowReader", "ShardReader", "TurnsOrColumns", "conversation", "root_of", "rows_file"]
