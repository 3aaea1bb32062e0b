"""manifest.json of a finished stage, as it is read: what it was made of, without anything that imports torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omnikit.errors import RunError
from omnikit.store.files import read_json

NAME = "manifest.json"


@dataclass(frozen=True)
class StageRecord:
    """What a finished stage was made of and what it cost.

    Args:
        facts: what decided its weights; see omnikit.store.facts.
        finished: local time with its offset.
        files: path → hash of the files that it took weights from.
        data: dataset → fingerprint of its content.
        weights_before: part → hash of the weights it started from.
        weights_after: part → hash of the weights afterwards, trained and frozen.
        numbers: last losses, or what a fit reported.
    """

    facts: dict[str, Any]
    finished: str = ""
    steps: int = 0
    seconds: float = 0.0
    files: dict[str, str] = field(default_factory=dict)
    data: dict[str, str] = field(default_factory=dict)
    weights_before: dict[str, str] = field(default_factory=dict)
    weights_after: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    hardware: dict[str, str | int] = field(default_factory=dict)


def record(folder: Path, name: str) -> StageRecord:
    """Give the record of a finished stage; raises RunError as `read`."""
    found = read(folder, name)
    return StageRecord(**{key: found[key] for key in StageRecord.__dataclass_fields__ if key in found})


def read(folder: Path, name: str) -> dict[str, Any]:
    """Give the record of a finished stage.

    Raises:
        RunError: it is missing, cannot be read, or holds something else.
    """
    path = folder / name / NAME
    advice = f"put it back as it was, or train the stage again with --retrain {name}"
    found = read_json(path, advice)
    for key in ("facts", "data", "weights_before", "weights_after", "files"):
        if not isinstance(found.get(key), dict):
            raise RunError(f"{path} has {key} {str(found.get(key))[:40]!r}, but it must be a mapping; {advice}.")
    return found
