"""Where each value of a JSON list lies in its file, found in one pass without parsing: files may be larger than the memory."""

import mmap
import re
from array import array
from functools import reduce
from pathlib import Path

from omnikit.errors import DataError

STRING = rb'"(?:[^"\\]++|\\.)*+"'
INSIDE = re.compile(STRING + rb"|[\[\]{}]", re.DOTALL)
ATOMS = rb'[^"\[\]{}]++|' + STRING
SHALLOW = reduce(lambda within, _: rb"(?:" + ATOMS + rb"|[\[{]" + within + rb"[\]}])*+", range(4), rb"(?:" + ATOMS + rb")*+")
ROW = re.compile(SHALLOW + rb"[\]}]", re.DOTALL)  # the rest of a value no deeper than rows are, in one match
OUTSIDE = re.compile(STRING + rb"|[\[\]{},]", re.DOTALL)
BOM = b"\xef\xbb\xbf"


class Listing:
    """The values of one JSON list, as bytes, by index.

    Raises:
        DataError: the file is missing, empty, no list or cut short.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.starts, self.ends = array("q"), array("q")
        if not file.is_file():
            raise DataError(f"{file} does not exist, but should hold conversations; fix `path`.")
        if not file.stat().st_size:
            raise DataError(f"{file} is empty, but must hold a JSON list of conversations.")
        with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            self._scan(data)
        if not self.starts:
            raise DataError(f"{file} is an empty list, but must hold at least one conversation.")

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> bytes:
        with self.file.open("rb") as stream:
            stream.seek(self.starts[index])
            return stream.read(self.ends[index] - self.starts[index]).strip()

    def _scan(self, data: mmap.mmap) -> None:
        begin = len(BOM) if data[: len(BOM)] == BOM else 0
        opening = re.compile(rb"\s*\[").match(data, begin)
        if not opening:
            raise DataError(f"{self.file} is not a JSON list, but must hold [{{…}}, {{…}}], one object for each conversation.")
        start = place = opening.end()
        while found := OUTSIDE.search(data, place):
            mark, place = found.group(), found.end()
            if mark in (b",", b"]"):
                if mark == b"," or self.starts or data[start : place - 1].strip():
                    self.starts.append(start)
                    self.ends.append(place - 1)
                start = place
                if mark == b"]":
                    return
            elif mark in (b"{", b"["):
                place = self._closed(data, place, start)
        raise self._cut(data, start)

    def _closed(self, data: mmap.mmap, place: int, start: int) -> int:
        """Give the place behind a bracket's partner."""
        if shallow := ROW.match(data, place):
            return shallow.end()
        depth = 1
        for found in INSIDE.finditer(data, place):
            mark = found.group()
            depth += (mark in (b"{", b"[")) - (mark in (b"}", b"]"))
            if not depth:
                return found.end()
        raise self._cut(data, start)

    def _cut(self, data: mmap.mmap, start: int) -> DataError:
        line = data[:start].count(b"\n") + 1
        return DataError(f"{self.file} is not a whole JSON list: row {len(self.starts)}, which begins in line {line}, or the"
                         " list itself never ends; fix its brackets and quotes or copy the file again.")
