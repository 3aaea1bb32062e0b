"""Questions in a JSONL file, one a line: conversations as datasets have them, or {id, audio | text | image | video, system}.

Media paths start from the file's folder. A line that cannot be used gives its DataError when it is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from omnikit import registry
from omnikit.contracts.protocols import Reader
from omnikit.contracts.types import Sample
from omnikit.errors import DataError, nearest
from omnikit.inference.question import question

MEDIA = ("audio", "image", "video")
KEYS = ("id", *MEDIA, "text", "system")
READER = "messages_jsonl"


class QuestionFile:
    """Questions by index.

    Raises:
        DataError: there is no such file, or it has no line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        cls = registry.component("reader", READER)
        self._reader: Reader = cls(path=str(path)).build()
        with path.open("rb") as stream:
            lines = [(number, line) for number, line in enumerate(stream, start=1) if line.strip()]
        self.numbers = [number for number, _ in lines]  # from 1, of the lines that are not blank
        self._rows = [_row(line) for _, line in lines]

    def __len__(self) -> int:
        return len(self._rows)

    def name(self, index: int) -> str:
        """Give a question's id; the number of its line where it has none."""
        row = self._rows[index]
        return str(row.get("id", self.numbers[index])) if row else str(self.numbers[index])

    def __getitem__(self, index: int) -> Sample:
        row = self._rows[index]
        if row is None or "messages" in row:
            return self._reader[index]
        return self._simple(row, f"{self.path}, line {self.numbers[index]}", self.name(index))

    def _simple(self, row: dict[str, object], where: str, name: str) -> Sample:
        for key in row:
            if key not in KEYS:
                raise DataError(f"{where}: the row has the unknown key {key!r}, but may hold {', '.join(KEYS)}, or messages."
                                f"{nearest(key, KEYS)}", kind="unknown key")
        texts = {key: self._text(row[key], key, where) for key in ("text", "system") if key in row}
        audio = self._files(row.get("audio"), "audio", where)
        if len(audio) > 1:
            raise DataError(f"{where}: audio names {len(audio)} files, but a question has one; write it as messages.")
        images, videos = (self._files(row.get(key), key, where) or None for key in ("image", "video"))
        try:
            return question(audio[0] if audio else None, texts.get("text"), texts.get("system"), image=images, video=videos,
                            name=name)
        except DataError as error:
            raise DataError(f"{where}: {error}", kind="no question") from error

    def _files(self, value: object, key: str, where: str) -> Sequence[str]:
        """Give the paths of one kind of media."""
        values = value if isinstance(value, list) else [] if value is None else [value]
        paths = []
        for each in values:
            if not isinstance(each, str) or not each:
                raise DataError(f"{where}: {key} is {json.dumps(each)[:60]}, but must be the path of a file, or a list of"
                                " them.", kind="wrong type")
            path = self.path.parent / Path(each).expanduser()
            if not path.is_file():
                raise DataError(f"{where}: {key} is {each!r}, but there is no file {path}.", kind="missing file")
            paths.append(str(path))
        return paths

    def _text(self, value: object, key: str, where: str) -> str:
        if not isinstance(value, str):
            raise DataError(f"{where}: {key} is {json.dumps(value)[:60]}, but must be a text.", kind="wrong type")
        return value


def _row(line: bytes) -> dict[str, object] | None:
    """Give a line's object; None where it is not one."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
