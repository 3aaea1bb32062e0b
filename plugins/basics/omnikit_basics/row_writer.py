"""Samples written as our JSONL rows; media that are embedded become files beside them."""

import json
from collections.abc import Iterable
from pathlib import Path

from omnikit.contracts.codes import to_file
from omnikit.contracts.types import ContentPart, Message, Sample
from omnikit.data.media_files import media_path
from omnikit.store.files import atomic_file


def write_rows(samples: Iterable[Sample], path: Path) -> dict[str, int]:
    """Write samples to a .jsonl file; nothing of them is left out."""
    with atomic_file(path) as part, part.open("w", encoding="utf-8") as stream:
        for sample in samples:
            stream.write(json.dumps(_row(sample, path.parent), ensure_ascii=False) + "\n")
    return {}


def _row(sample: Sample, folder: Path) -> dict[str, object]:
    messages = [_message(message, folder, f"{sample.id}_{index}") for index, message in enumerate(sample.messages)]
    return {"id": sample.id, "messages": messages, **({"facts": sample.facts} if sample.facts else {})}


def _message(message: Message, folder: Path, name: str) -> dict[str, object]:
    parts = [_part(part, folder, f"{name}_{index}") for index, part in enumerate(message.content)]
    state = {"state": message.state} if message.state else {}
    return {"role": message.role, "content": parts, **state, **({"cut": True} if message.cut else {})}


def _part(part: ContentPart, folder: Path, name: str) -> dict[str, object]:
    text = {} if part.text is None else {"text": part.text}
    codes = {} if part.codes is None else {"codes": to_file(part.codes)}
    has_file = part.path is not None or part.data is not None or part.audio is not None or part.pixels is not None
    path = {"path": media_path(part, folder, name)} if has_file else {}
    return {"type": part.type, **path, **text, **codes}
