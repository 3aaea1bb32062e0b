"""The settings of the JSONL reader. Imports no torch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omnikit_basics.reader import JsonlReader

PROVIDES = ("text", "audio", "image", "video", "prompt", "transcript", "caption", "answer", "speech",
            "codes")  # of ReaderConfig


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
