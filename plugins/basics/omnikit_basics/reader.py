"""Our JSONL rows become samples. Reads text only: media stay paths until somebody loads them.

{"id": "a1", "messages": [{"role": "user", "content": [{"type": "audio", "path": "a1.wav", "text": "what is said"}]},
                          {"role": "assistant", "content": [{"type": "text", "text": "the answer"}]}]}
"""

import json
from array import array
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from omnikit.contracts.codes import Code, from_file
from omnikit.contracts.types import ContentPart, Message, Sample
from omnikit.errors import ConfigError, DataError, nearest

if TYPE_CHECKING:
    from omnikit_basics.config.reader import MessagesJsonl

ROLES = ("system", "user", "assistant")
STATES = ("audio", "noise", "text")
MEDIA = ("audio", "image", "video")
KINDS = ("text", *MEDIA, "prompt")
KEYS = {
    "row": ("id", "messages", "facts"),
    "message": ("role", "content", "state", "cut"),
    "text": ("type", "text"),
    "audio": ("type", "path", "text", "codes"),
    "image": ("type", "path", "text"),
    "video": ("type", "path", "text"),
    "prompt": ("type",),
}


class JsonlReader:
    """Samples of one file by index; holds only where each line begins.

    Raises:
        DataError: a file that is missing or empty at once; a broken row when it is asked for.
    """

    def __init__(self, config: "MessagesJsonl") -> None:
        self.file = find_file(config)
        self.root = Path(config.root).expanduser() if config.root else self.file.parent
        self.lines, self.offsets = array("q"), array("q")
        with self.file.open("rb") as stream:
            offset = 0
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    self.lines.append(number)
                    self.offsets.append(offset)
                offset += len(line)
        if not self.lines:
            raise DataError(f"{self.file} is empty, but must hold at least one row of JSON.")

    def __len__(self) -> int:
        return len(self.lines)

    def __getitem__(self, index: int) -> Sample:
        with self.file.open("rb") as stream:
            stream.seek(self.offsets[index])
            line = stream.readline()
        return Row(self.file, self.lines[index], self.root).parse(line)


def find_file(config: "MessagesJsonl") -> Path:
    """Give the file that `path` and `split` name.

    Raises:
        ConfigError: `split` beside a single file, or a folder without `split`.
        DataError: there is no such file.
    """
    path = Path(config.path).expanduser()
    if path.is_dir() and config.split is None:
        raise ConfigError(f"path is the folder {path}, but split is empty; set split to a .jsonl file in it.")
    if path.is_file() and config.split is not None:
        raise ConfigError(f"split is {config.split!r}, but path is the single file {path}; give the folder instead.")
    file = path / f"{config.split}.jsonl" if config.split is not None else path
    if not file.is_file():
        raise DataError(f"{file} does not exist, but should hold the dataset's rows; fix `path`.")
    return file


class Row:
    """One line on its way to a sample; every refusal names file and line."""

    def __init__(self, file: Path, line: int, root: Path) -> None:
        self.place, self.line, self.root = f"{file}, line {line}", line, root

    def parse(self, text: bytes) -> Sample:
        try:
            row: object = json.loads(text)
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise DataError(f"{self.place} is not JSON ({error}), but must hold one object in one line.",
                            kind="not JSON") from None
        row = self.mapping(row, "the row", "row")
        messages = row.get("messages")
        if not isinstance(messages, list) or not messages:
            self.refuse("messages", messages, "a list of at least one message")
        facts = row.get("facts", {})
        if not isinstance(facts, dict) or not all(isinstance(value, str) for value in facts.values()):
            self.refuse("facts", facts, "a mapping of words to words")
        parsed = tuple(self.message(message, f"messages[{i}]") for i, message in enumerate(messages))
        return Sample(str(row.get("id", self.line)), parsed, facts)

    def message(self, value: object, where: str) -> Message:
        message = self.mapping(value, where, "message")
        role, content = message.get("role"), message.get("content")
        if not isinstance(role, str) or role not in ROLES:
            self.refuse(f"{where}.role", role, f"one of {', '.join(ROLES)}")
        state, cut = self.marks(message, role, where)
        if isinstance(content, str):
            return Message(role, (ContentPart("text", text=content),), state, cut)
        if not isinstance(content, list) or not content:
            self.refuse(f"{where}.content", content, "a text or a list of at least one part")
        parts = tuple(self.part(part, f"{where}.content[{i}]") for i, part in enumerate(content))
        return Message(role, parts, state, cut)

    def marks(self, message: dict[str, object], role: str, where: str) -> tuple[str | None, bool]:
        """Give the turn state of an answer, if the row has one, and whether the answer breaks off."""
        state, cut = message.get("state"), message.get("cut", False)
        if "state" in message and (not isinstance(state, str) or state not in STATES or role != "assistant"):
            self.refuse(f"{where}.state", state, f"one of {', '.join(STATES)}, in a message of the assistant")
        if not isinstance(cut, bool) or (cut and role != "assistant"):
            self.refuse(f"{where}.cut", cut, "true or false, and true only in a message of the assistant")
        return (str(state) if state else None), cut

    def part(self, value: object, where: str) -> ContentPart:
        kind = value.get("type") if isinstance(value, dict) else None
        if not isinstance(kind, str) or kind not in KINDS:
            found = kind if isinstance(value, dict) else value
            hint = nearest(str(found), KINDS)
            self.refuse(f"{where}.type", found, f"one of {', '.join(KINDS)}", hint)
        part = self.mapping(value, where, kind)
        text = part.get("text")
        if not isinstance(text, str) and (kind == "text" or text is not None):
            self.refuse(f"{where}.text", text, "a text")
        codes = self.codes(part, where)
        is_file = kind in MEDIA and not (codes is not None and "path" not in part)
        return ContentPart(kind, text, self.media(part.get("path"), where) if is_file else None, codes=codes)

    def media(self, value: object, where: str) -> str:
        if not isinstance(value, str) or not value:
            self.refuse(f"{where}.path", value, "the path of a file")
        path = self.root / Path(value).expanduser()
        if not _is_file(path):
            raise DataError(f"{self.place}: {where}.path is {value!r}, but there is no file {path}.", kind="missing file")
        return str(path)

    def codes(self, part: dict[str, object], where: str) -> tuple[Code, ...] | None:
        codes = part.get("codes")
        if codes is None:
            return None
        try:
            return from_file(codes if isinstance(codes, list) else [-1])
        except ValueError:
            self.refuse(f"{where}.codes", codes, "a list of whole numbers from 0 up, or of lists of as many of them")

    def mapping(self, value: object, where: str, kind: str) -> dict[str, object]:
        """Give `value` as an object that holds no unknown key."""
        if not isinstance(value, dict):
            self.refuse(where, value, "a JSON object")
        for key in value:
            if key not in KEYS[kind]:
                raise DataError(f"{self.place}: {where} has the unknown key {key!r}, but may hold "
                                f"{', '.join(KEYS[kind])}.{nearest(key, KEYS[kind])}", kind="unknown key")
        return value

    def refuse(self, where: str, found: object, expected: str, hint: str = "") -> NoReturn:
        shown = "missing" if found is None else json.dumps(found)[:60]
        raise DataError(f"{self.place}: {where} is {shown}, but must be {expected}.{hint}", kind="wrong type")


def _is_file(path: Path) -> bool:
    """Say whether a file is there; a name that no file can have (too long, with a null byte) names none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
