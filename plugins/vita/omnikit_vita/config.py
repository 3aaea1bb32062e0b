"""The reader `vita_json`: VITA's list of conversations in one JSON file. Loads nothing until `build()`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omnikit_vita.reader import VitaReader

PROVIDES = ("text", "audio", "image", "video", "transcript", "answer", "speech", "codes")


@dataclass(frozen=True)
class VitaJson:
    """VITA's JSON: [{"set", "id", "conversations": [{"from": "human" or "gpt", "value"}], "image", "video", "audio", …}].

    `<image>`, `<video>` and `<audio>` in a question stand for the row's files, in order. Line breaks beside them belong to
    them, and a template puts its own back; an image at the end of a question comes first. The answer at place `inserted_id`
    is one to noise; `end_tag: false`: the last answer breaks off.

    Args:
        path: the JSON list.
        folders: the rows' `set` → folder of its images and videos.
        audio: folder whose subfolder "audio" holds the rows' audio.
        fraction: fraction of the rows, above 0 to 1, drawn once by `seed`: VITA's data_ratio.
        seed: draws it.
        ignore: keys of rows that may be there and are not read; any other key that VITA does not know is refused.
        provides: what the rows hold (see omnikit.contracts.configs.ReaderConfig).
        seconds: no audio in a question is longer than this; None if unknown.
    """

    path: str
    folders: dict[str, str] = field(default_factory=dict)
    audio: str | None = None
    fraction: float = 1.0
    seed: int = 0
    ignore: tuple[str, ...] = ()
    provides: tuple[str, ...] = ("text", "image", "video", "audio", "answer")
    seconds: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise ValueError(f"fraction is {self.fraction:g}, but must be above 0 and at most 1")
        for word in self.provides:
            if word not in PROVIDES:
                raise ValueError(f"provides holds {word!r}, but must be among {', '.join(PROVIDES)}")

    def build(self) -> VitaReader:
        """Find the rows' places in the file; raises DataError if it is missing, empty or no JSON list."""
        from omnikit_vita.reader import VitaReader

        return VitaReader(self)
