"""Files of text instructions: the first question and answer of each entry, or why there is none. Rewrites nothing."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from omnikit.errors import DataError

ASKS, ANSWERS = ("user", "human"), ("assistant", "gpt")


@dataclass(frozen=True)
class Entry:
    """One instruction with its answer; `origin` is the shape it came in: alpaca, ultrachat, messages or conversations.

    `source_id` is its name in the source, "" if it has none.
    """

    id: str
    origin: str
    question: str
    answer: str
    source_id: str = ""


@dataclass(frozen=True)
class Rejected:
    """An entry that is left out; `text` is its question, as far as that is known."""

    id: str
    reason: str
    text: str = ""
    source_id: str = ""


SHAPES = ('{"instruction": …, "output": …}, {"data": [question, answer]}, {"messages": [{"role": …, "content": …}]} or'
          ' {"conversations": [{"from": …, "value": …}]}')


class _RejectError(Exception):
    """Ends the reading of one entry; its text is the reason."""


def read(path: Path, limit: int | None) -> list[Entry | Rejected]:
    """Read a JSON list or JSONL, at most `limit` entries of it; ids count them.

    Raises:
        DataError: the file is missing, empty, no text, or a JSON that is no list.
    """
    return [_parsed(f"{index:06}", value) for index, value in zip(range(limit or 10**12), _values(path), strict=False)]


def _values(path: Path) -> Iterator[object]:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not a text in UTF-8 ({error.reason}), but must be JSON or JSONL of instructions.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}), but should hold the instructions; fix `source`.") from None
    if not text.strip():
        raise DataError(f"{path} is empty, but must hold at least one instruction.")
    if not text.lstrip().startswith("["):
        _check_lines(path, text)
        yield from (_line(line) for line in text.split("\n") if line.strip())
        return
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{path} is not JSON ({error}); fix it, or write one object in a line.") from None
    if not values:
        raise DataError(f"{path} is an empty list, but must hold at least one instruction.")
    yield from values


def _check_lines(path: Path, text: str) -> None:
    """Refuse a file of which no line is JSON."""
    first: tuple[int, json.JSONDecodeError] | None = None
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                json.loads(line)
                return
            except json.JSONDecodeError as error:
                first = first or (number, error)
    assert first, "the text is not empty"
    raise DataError(f"{path} is not JSON: line {first[0]}, column {first[1].colno}: {first[1].msg}; write a list, or one object"
                    f" in a line, each {SHAPES}.")


def _line(line: str) -> object:
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return _RejectError("not JSON")


def _parsed(name: str, value: object) -> Entry | Rejected:
    try:
        if isinstance(value, _RejectError):
            raise value
        origin, question, answer = _round(value)
        if not question.strip():
            raise _RejectError("empty question")
        if not answer.strip():
            raise _RejectError("empty answer")
    except _RejectError as reason:
        return Rejected(name, str(reason), source_id=_id(value))
    return Entry(f"{origin}-{name}", origin, question, answer, _id(value))


def _id(value: object) -> str:
    """Give the name that an entry has in its source; HuggingFaceH4's UltraChat has `prompt_id`."""
    found = next((value[key] for key in ("id", "prompt_id") if key in value), "") if isinstance(value, dict) else ""
    return str(found) if isinstance(found, str | int) else ""


def _round(value: object) -> tuple[str, str, str]:
    """Give shape, question and answer of the first round."""
    if not isinstance(value, dict):
        raise _RejectError("unknown shape")
    if "instruction" in value:
        given = _text(value.get("input", ""))
        question = _text(value["instruction"])
        return "alpaca", f"{question.rstrip().rstrip('.:')}: {given}" if given.strip() else question, _text(value.get("output"))
    if "data" in value:
        turns = value["data"]
        if not isinstance(turns, list) or len(turns) < 2:
            raise _RejectError("empty answer" if isinstance(turns, list) and turns else "unknown shape")
        return "ultrachat", _text(turns[0]), _text(turns[1])
    for key, role, content in (("messages", "role", "content"), ("conversations", "from", "value")):
        if key in value:
            return key, *_first(value[key], role, content)
    raise _RejectError("unknown shape")


def _first(turns: object, role: str, content: str) -> tuple[str, str]:
    """Give the first question, and the answer behind it."""
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        raise _RejectError("unknown shape")
    dialogue = [turn for turn in turns if turn.get(role) in (*ASKS, *ANSWERS)]
    asked = next((index for index, turn in enumerate(dialogue) if turn[role] in ASKS), None)
    if asked is None:
        raise _RejectError("empty question")
    if asked + 1 == len(dialogue) or dialogue[asked + 1][role] not in ANSWERS:
        raise _RejectError("empty answer")
    return _text(dialogue[asked].get(content)), _text(dialogue[asked + 1].get(content))


def _text(value: object) -> str:
    """Give a text, or the text parts of a list of parts."""
    if isinstance(value, list) and value and all(isinstance(p, dict) and isinstance(p.get("text"), str) for p in value):
        return " ".join(part["text"] for part in value)
    if not isinstance(value, str):
        raise _RejectError("not text")
    return value
