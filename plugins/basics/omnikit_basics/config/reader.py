"""The settings of the JSONL reader. Imports no torch."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from omnikit.contracts.types import Sample
    from omnikit_basics.reader import JsonlReader

PROVIDES = ("text", "audio", "image", "video", "prompt", "transcript", "caption", "answer", "speech",
            "codes")  # of ReaderConfig
KINDS = {"text", "audio", "image", "video", "prompt"}  # of content parts
KEYS = {"id", "messages", "facts"}  # of rows


@dataclass(frozen=True)
class MessagesJsonl:
    """Conversations, one JSON object in a line, with media in files beside them.

    Args:
        path: the .jsonl file; or a folder, then `split` names the file in it.
        split: reads <path>/<split>.jsonl.
        root: folder that relative media paths start from; None: the folder of the .jsonl file.
        provides: what every row holds (see omnikit.contracts.configs.ReaderConfig).
        seconds: no audio in a question is longer than this; None if unknown.
    """

    path: str
    split: str | None = None
    root: str | None = None
    provides: tuple[str, ...] = ("text", "audio", "answer")
    seconds: float | None = None

    def __post_init__(self) -> None:
        for word in self.provides:
            if word not in PROVIDES:
                raise ValueError(f"provides holds {word!r}, but must be among {', '.join(PROVIDES)}")

    def build(self) -> "JsonlReader":
        from omnikit_basics.reader import JsonlReader

        return JsonlReader(self)

    @staticmethod
    def recognise(path: Path) -> bool:
        """Say whether the first row of a .jsonl file is one of ours."""
        if path.suffix != ".jsonl" or not path.is_file():
            return False
        with path.open("rb") as stream:
            first = next((line for line in stream if line.strip()), b"")
        try:
            row: object = json.loads(first)
        except ValueError:
            return False
        return isinstance(row, dict) and "messages" in row and set(row) <= KEYS and _are_parts(row["messages"])

    @staticmethod
    def write(samples: "Iterable[Sample]", path: Path) -> "Mapping[str, int]":
        """Write samples as such rows; nothing of them is left out."""
        from omnikit_basics.row_writer import write_rows

        return write_rows(samples, path)


def _are_parts(messages: object) -> bool:
    """Say whether all content is text or parts of our kinds, media by their path."""
    listed = messages if isinstance(messages, list) else []
    contents = [message.get("content") for message in listed if isinstance(message, dict)]
    parts = [part for content in contents if isinstance(content, list) for part in content]
    return bool(contents) and all(isinstance(part, dict) and part.get("type") in KINDS
                                  and (part["type"] in ("text", "prompt") or "path" in part or "codes" in part)
                                  for part in parts)
