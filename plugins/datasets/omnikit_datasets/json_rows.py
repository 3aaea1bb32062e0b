"""Rows of a JSON list or of JSON Lines by index. Holds only where each row begins."""

import json
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from omnikit.errors import DataError

BLOCK = 1 << 22  # bytes that are read at a time
BOM = b"\xef\xbb\xbf"
SPACE = " \t\r\n"


class JsonRows:
    """Rows of one file.

    Args:
        file: a list of objects, or one object in a line.

    Raises:
        DataError: the file is missing, empty or not JSON.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        if not file.is_file():
            raise DataError(f"{file} does not exist, but should hold the dataset's rows; fix `path`.", kind="missing file")
        self.offsets, self.sizes, self.lines = array("q"), array("q"), array("q")
        with file.open("rb") as stream:
            start = len(BOM) if stream.read(len(BOM)) == BOM else 0
            stream.seek(start)
            head = stream.read(4096).lstrip()
            stream.seek(start)
            self.is_list = head.startswith(b"[")
            found = _items(stream, start, file) if self.is_list else _lines(stream, start)
            for offset, size, line in found:
                self.offsets.append(offset)
                self.sizes.append(size)
                self.lines.append(line)
        if not self.offsets:
            raise DataError(f"{file} is empty, but must hold at least one row of JSON.")

    def __len__(self) -> int:
        return len(self.offsets)

    def place(self, index: int) -> str:
        """Give file and row, for sentences."""
        return f"{self.file}, row {index}" if self.is_list else f"{self.file}, line {self.lines[index]}"

    def __getitem__(self, index: int) -> dict[str, object]:
        with self.file.open("rb") as stream:
            stream.seek(self.offsets[index])
            text = stream.read(self.sizes[index])
        try:
            row: object = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{self.place(index)} is not JSON ({error}), but must hold one object.", kind="not JSON") from None
        if not isinstance(row, dict):
            shown = json.dumps(row, ensure_ascii=False)[:60]
            raise DataError(f"{self.place(index)} is {shown}, but must be a JSON object.", kind="not an object")
        return row


def _lines(stream: BinaryIO, offset: int) -> Iterator[tuple[int, int, int]]:
    """Give (offset, size, number) of each line that is not blank."""
    for number, line in enumerate(stream, start=1):
        if line.strip():
            yield offset, len(line), number
        offset += len(line)


def _items(stream: BinaryIO, offset: int, file: Path) -> Iterator[tuple[int, int, int]]:
    """Give (offset, size, number) of each item of a list.

    Bytes are taken for characters (Latin-1): what JSON is made of is ASCII, so that places in the text are those in the file.
    """
    decoder, text, at, number = json.JSONDecoder(), stream.read(BLOCK).decode("latin-1"), 0, 0
    at = text.index("[") + 1
    while True:
        at = _after_space(text, at)
        try:
            if text[at] == "]":
                return
            end = decoder.raw_decode(text, at)[1]
            after = _after_space(text, end)
            closing = text[after]
        except (ValueError, IndexError, RecursionError) as error:
            more = stream.read(max(BLOCK, len(text))).decode("latin-1")
            if not more:
                raise DataError(f"{file} is not a JSON list: row {number} cannot be read ({error}); write it again.",
                                kind="not JSON") from None
            text, offset, at = text[at:] + more, offset + at, 0
            continue
        yield offset + at, end - at, number
        number += 1
        if closing not in ",]":
            raise DataError(f"{file} is not a JSON list: behind row {number - 1} stands {closing!r}, but a comma or the end"
                            " must stand there.", kind="not JSON")
        at = after + (closing == ",")


def _after_space(text: str, at: int) -> int:
    while at < len(text) and text[at] in SPACE:
        at += 1
    return at
