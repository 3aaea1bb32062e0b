"""Speech tables by index: a TSV with or without a head, and Kaldi's data folders (wav.scp, text, segments)."""

import csv
from array import array
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

import numpy as np

from omnikit.errors import DataError

HEAD = {"id", "utt_id", "key", "path", "audio", "wav", "audio_filepath", "sentence", "text", "transcript", "client_id",
        "question", "answer", "image", "video"}
PLAIN = ("id", "audio", "text")  # columns of a table without a head


class TableRows:
    """Rows of a TSV or CSV; holds only where each line begins.

    Args:
        file: with a head that names the columns, or with the columns id, audio and text.
    """

    def __init__(self, file: Path) -> None:
        self.file, self.offsets, self.lines = file, array("q"), array("q")
        if not file.is_file():
            raise DataError(f"{file} does not exist, but should hold the dataset's rows; fix `path`.", kind="missing file")
        with file.open("rb") as stream:
            first = stream.readline()
            self.delimiter = "\t" if b"\t" in first or file.suffix != ".csv" else ","
            head = self._cells(first)
            has_head = bool(HEAD & {cell.lower() for cell in head})
            self.columns = tuple(head) if has_head else PLAIN[:len(head)]
            offset = len(first)
            lines = [] if has_head else [(0, first)]
            for number, (start, line) in enumerate(_with_offsets(lines, offset, stream), start=2 if has_head else 1):
                if line.strip():
                    self.offsets.append(start)
                    self.lines.append(number)
        if not self.offsets:
            raise DataError(f"{file} is empty, but must hold at least one row behind its head.")

    def __len__(self) -> int:
        return len(self.offsets)

    def place(self, index: int) -> str:
        """Give file and line, for sentences."""
        return f"{self.file}, line {self.lines[index]}"

    def __getitem__(self, index: int) -> dict[str, object]:
        with self.file.open("rb") as stream:
            stream.seek(self.offsets[index])
            cells = self._cells(stream.readline())
        if len(cells) != len(self.columns):
            raise DataError(f"{self.place(index)} has {len(cells)} cells, but the table has the {len(self.columns)} columns"
                            f" {', '.join(self.columns)}; fix it.", kind="wrong columns")
        return {column: cell for column, cell in zip(self.columns, cells, strict=True) if cell != ""}

    def _cells(self, line: bytes) -> list[str]:
        try:
            text = line.decode("utf-8-sig").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise DataError(f"{self.file} holds a line that is not UTF-8 ({error}); save it as UTF-8.",
                            kind="not UTF-8") from None
        return text.split("\t") if self.delimiter == "\t" else next(csv.reader([text]), [])


class KaldiRows:
    """Utterances of a Kaldi data folder, in the order of `text`; holds only where each line begins."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.recordings = KeyedLines(folder / "wav.scp")
        segments = folder / "segments"
        self.segments = KeyedLines(segments) if segments.is_file() else None
        self.texts = KeyedLines(folder / "text")
        if not len(self.texts):
            raise DataError(f"{folder / 'text'} is empty, but must hold at least one utterance.")

    def __len__(self) -> int:
        return len(self.texts)

    def place(self, index: int) -> str:
        """Give file and utterance, for sentences."""
        return f"{self.folder / 'text'}, utterance {self.texts.pair(index)[0]}"

    def __getitem__(self, index: int) -> dict[str, object]:
        name, text = self.texts.pair(index)
        values: dict[str, object] = {"id": name, "text": text}
        recording = name
        if self.segments is not None:
            cells = (self.segments.get(name) or "").split()
            if len(cells) != 3:
                raise DataError(f"{self.place(index)}: segments has no line `{name} RECORDING START END`; add it.",
                                kind="wrong segment")
            recording = cells[0]
            try:
                start, end = float(cells[1]), float(cells[2])
            except ValueError:
                start, end = 0.0, -1.0
            if end <= start:
                raise DataError(f"{self.place(index)}: segments has {' '.join(cells)}, but the end must be a number behind the"
                                " start; fix it.", kind="wrong segment")
            values |= {"offset": start, "duration": end - start}
        source = self.recordings.get(recording)
        if source is None:
            raise DataError(f"{self.place(index)}: wav.scp has no recording {recording}; add it.", kind="missing file")
        if source.endswith("|"):
            raise DataError(f"{self.place(index)}: wav.scp makes {recording} by the command {source[:60]!r}, which is never"
                            " run; write the audio to a file and name that.", kind="command")
        return values | {"audio": source}


def _with_offsets(first: list[tuple[int, bytes]], offset: int, stream: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
    yield from first
    for line in stream:
        yield offset, line
        offset += len(line)


class KeyedLines:
    """Lines that begin with a key, by index and by key.

    Raises:
        DataError: there is no such file.
    """

    def __init__(self, file: Path) -> None:
        self.file, self.offsets, keys = file, array("q"), array("Q")
        if not file.is_file():
            raise DataError(f"{file} does not exist, but a Kaldi data folder holds wav.scp and text; fix `path`.",
                            kind="missing file")
        with file.open("rb") as stream:
            for offset, line in _with_offsets([], 0, stream):
                if words := line.split(maxsplit=1):
                    self.offsets.append(offset)
                    keys.append(_hash(words[0]))
        hashes = np.frombuffer(keys, dtype=np.uint64) if keys else np.zeros(0, np.uint64)
        self._order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[self._order]

    def __len__(self) -> int:
        return len(self.offsets)

    def pair(self, index: int) -> tuple[str, str]:
        """Give the key and the rest of a line."""
        with self.file.open("rb") as stream:
            stream.seek(self.offsets[index])
            line = stream.readline()
        try:
            name, _, rest = line.decode("utf-8").strip().replace("\t", " ", 1).partition(" ")
        except UnicodeDecodeError as error:
            raise DataError(f"{self.file} holds a line that is not UTF-8 ({error}); save it as UTF-8.",
                            kind="not UTF-8") from None
        return name, rest.strip()

    def get(self, key: str) -> str | None:
        """Give the rest of the last line with a key; None where there is none."""
        wanted = np.uint64(_hash(key.encode()))
        first, end = (int(np.searchsorted(self._hashes, wanted, side)) for side in ("left", "right"))
        pairs = (self.pair(int(index)) for index in reversed(self._order[first:end]))
        return next((rest for name, rest in pairs if name == key), None)


def _hash(key: bytes) -> int:
    return int.from_bytes(blake2b(key, digest_size=8).digest(), "little")
