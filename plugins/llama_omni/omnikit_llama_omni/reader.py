"""Published rows become samples; waves stay paths until somebody loads them. A key that we do not read is nobody's mistake."""

import json
import re
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import NoReturn

from omnikit.contracts.codes import Code
from omnikit.contracts.types import ContentPart, Message, Sample
from omnikit.errors import DataError
from omnikit_llama_omni.datasets import COSYVOICE, LlamaOmniJson, SpokenConversations

ROLES = {"human": "user", "gpt": "assistant", "system": "system"}
SPEECH = "<speech>"
_UNITS = re.compile(r"\s*(?:<\d+>\s*)*")


class JsonReader:
    """LLaMA-Omni's JSON by index; a broken row is refused when it is asked for.

    Raises:
        DataError: the file, or that of the units, is missing, empty or no JSON.
    """

    def __init__(self, config: LlamaOmniJson) -> None:
        self.rows = _rows(Path(config.path).expanduser())
        self.file, self.root, self.cardinality = config.path, _root(config.path, config.root), config.cardinality
        self.units: dict[str, object] = {}
        for row in _rows(Path(config.units).expanduser()) if config.units else []:
            if isinstance(row, dict):
                self.units[str(row.get("question_id"))] = row.get("prediction_units")

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Sample:
        """Give one conversation; raises DataError naming its place in the file."""
        row = Row(self.rows[index], f"{self.file}, row {index}", self.root, self.cardinality)
        name = str(row.values.get("id", index))
        turns = row.turns("conversations")
        waves = row.waves()
        asked = sum(_value(turn).count(SPEECH) for turn in turns)
        if asked != len(waves):
            row.refuse("speech", f"{len(waves)} files", f"one for each of the {asked} {SPEECH} in the conversation")
        units = row.values.get("prediction_units", self.units.get(name))
        answers = sum(turn.get("from") == "gpt" for turn in turns)
        if units is not None and answers != 1:
            row.refuse("prediction_units", "there", f"missing: it is not clear which of the {answers} answers it belongs to")
        files = iter(waves)
        messages = [self._message(row, turn, f"conversations[{i}]", files, units) for i, turn in enumerate(turns)]
        return Sample(name, tuple(messages))

    def _message(self, row: "Row", turn: Mapping[str, object], where: str, files: Iterator[str], units: object) -> Message:
        role, value = row.role(turn, where), row.text(turn.get("value"), f"{where}.value")
        if role != "assistant":
            return Message(role, tuple(_parts(value, files)))
        found = turn.get("tgt_units", units)
        place = f"{where}.tgt_units" if "tgt_units" in turn else "prediction_units"
        spoken = () if found is None else (ContentPart("audio", text=value, codes=row.units(found, place)),)
        return Message(role, (ContentPart("text", text=value), *spoken))


class ConversationsReader:
    """Published conversations by index; see JsonReader."""

    def __init__(self, config: SpokenConversations) -> None:
        self.rows = _rows(Path(config.path).expanduser())
        self.config, self.root = config, _root(config.path, config.root)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Sample:
        """Give one conversation; raises DataError naming its place in the file."""
        row = Row(self.rows[index], f"{self.config.path}, row {index}", self.root, self.config.cardinality)
        key = "conversations" if "conversations" in row.values else "conversation"
        messages = [self._message(row, turn, f"{key}[{place}]") for place, turn in enumerate(row.turns(key))]
        return Sample(str(row.values.get("id", index)), tuple(messages))

    def _message(self, row: "Row", turn: Mapping[str, object], where: str) -> Message:
        role, text = row.role(turn, where), row.text(turn.get("text"), f"{where}.text")
        wave = row.wave(turn.get("speech"), f"{where}.speech") if role != "system" else None
        if role != "assistant":
            return Message(role, (ContentPart("audio", text=text, path=wave) if wave else ContentPart("text", text=text),))
        codes = row.units(turn.get("unit"), f"{where}.unit") if self.config.units else None
        return Message(role, (ContentPart("text", text=text), ContentPart("audio", text=text, path=wave, codes=codes)))


class Row:
    """One row on its way to a sample; every refusal names the file and the row."""

    def __init__(self, values: object, place: str, root: Path, cardinality: int) -> None:
        self.place, self.root, self.cardinality = place, root, cardinality
        if not isinstance(values, dict):
            self.refuse("the row", values, "a JSON object")
        self.values: dict[str, object] = values

    def turns(self, key: str) -> list[dict[str, object]]:
        """Give the turns of a conversation."""
        turns = self.values.get(key)
        if not isinstance(turns, list) or not turns or not all(isinstance(turn, dict) for turn in turns):
            self.refuse(key, turns, "a list of at least one turn")
        return turns

    def role(self, turn: Mapping[str, object], where: str) -> str:
        """Give whose turn it is, in our words."""
        who = turn.get("from")
        if not isinstance(who, str) or who not in ROLES:
            self.refuse(f"{where}.from", who, f"one of {', '.join(ROLES)}")
        return ROLES[who]

    def text(self, value: object, where: str) -> str:
        """Give a text that is not empty."""
        if not isinstance(value, str) or not value.strip():
            self.refuse(where, value, "a text")
        return value

    def waves(self) -> list[str]:
        """Give the files of `speech`: one, a list, or none."""
        speech = self.values.get("speech")
        files = speech if isinstance(speech, list) else [] if speech is None else [speech]
        return [self.wave(file, "speech") for file in files]

    def wave(self, value: object, where: str) -> str:
        """Give the path of a wave file that is there."""
        if not isinstance(value, str) or not value:
            self.refuse(where, value, "the path of a wave file")
        path = self.root / Path(value).expanduser()
        if not path.is_file():
            raise DataError(f"{self.place}: {where} is {value!r}, but there is no file {path}; fix `root`.",
                            kind="missing file")
        return str(path)

    def units(self, value: object, where: str) -> tuple[Code, ...]:
        """Give units with their runs merged, of a list, "12 7" or "<12><7>"; refuses what the codec lacks."""
        if isinstance(value, str) and (_UNITS.fullmatch(value) or re.fullmatch(r"[\d\s]*", value)):
            value = [int(word) for word in re.findall(r"\d+", value)]
        if not isinstance(value, list) or not value or not all(type(unit) is int and unit >= 0 for unit in value):
            self.refuse(where, value, "units, as a list of whole numbers, \"12 7\" or \"<12><7>\"")
        if max(value) >= self.cardinality:
            whose = (" They look like tokens of CosyVoice 2, not like mHuBERT's units; take the answers' waves instead"
                     " (spoken_conversations: units: false).") if max(value) < COSYVOICE else ""
            raise DataError(f"{self.place}: {where} holds unit {max(value)}, but the codec has {self.cardinality}, 0 to"
                            f" {self.cardinality - 1}; set `cardinality` to the codec's, or make the units again.{whose}")
        return tuple((unit,) for unit, _ in groupby(value))

    def refuse(self, where: str, found: object, expected: str) -> NoReturn:
        """Raise DataError."""
        shown = "missing" if found is None else found if isinstance(found, str) and found else json.dumps(found)
        raise DataError(f"{self.place}: {where} is {shown[:60]}, but must be {expected}.", kind="wrong type")


def _parts(value: str, files: Iterator[str]) -> Iterator[ContentPart]:
    """Give a question's parts; the line break behind <speech> is the placeholder's own."""
    pieces = value.split(SPEECH)
    for index, piece in enumerate(pieces):
        text = piece.removeprefix("\n") if index else piece
        if text.strip():
            yield ContentPart("text", text=text)
        if index + 1 < len(pieces):
            yield ContentPart("audio", path=next(files))


def _value(turn: Mapping[str, object]) -> str:
    value = turn.get("value")
    return value if isinstance(value, str) and turn.get("from") != "gpt" else ""


def _root(path: str, root: str | None) -> Path:
    return Path(root).expanduser() if root else Path(path).expanduser().parent


def _rows(path: Path) -> list[object]:
    """Read a JSON list or JSONL."""
    if not path.is_file():
        raise DataError(f"{path} does not exist, but should hold conversations; fix `path`.")
    try:
        text = path.read_text(encoding="utf-8").strip()
        rows = json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.split("\n") if line.strip()]
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not JSON ({error}), but must hold a list, or one object in a line.") from None
    if not rows:
        raise DataError(f"{path} is empty, but must hold at least one conversation.")
    return list(rows)
