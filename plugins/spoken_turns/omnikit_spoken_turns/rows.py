"""Rows of a source in, rows of messages_jsonl out, and the files of a finished dataset. Synthesizes nothing."""

import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from omnikit.contracts.codes import to_file
from omnikit.contracts.protocols import Reader
from omnikit.contracts.types import BuildReport, ContentPart, Message, Sample
from omnikit.data.build.folder import EmptyDatasetError, write
from omnikit.errors import ConfigError, DataError
from omnikit.recipe.schema import construct
from omnikit.registry import component
from omnikit_spoken_turns.config import NoiseAudio, SpokenQuestions

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rejected:
    """A row of the source that is left out."""

    id: str
    reason: str
    sentence: str = ""


def source(options: SpokenQuestions | NoiseAudio) -> tuple[Reader, str]:
    """Open the source; gives its reader and the SHA-256 of its file.

    Raises:
        ConfigError: the reader does not exist or takes other options.
        DataError: there is no such dataset.
    """
    path, errors = Path(options.source).expanduser(), list[str]()
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "does not exist"
        raise DataError(f"{path} {found}, but should hold the rows; fix `source`.")
    config = construct(component("reader", options.reader), {**options.options, "path": str(path)}, "options", errors)
    if errors or config is None:
        raise ConfigError(*errors)
    reader: Reader = config.build()
    with path.open("rb") as stream:
        return reader, hashlib.file_digest(stream, "sha256").hexdigest()


def samples(reader: Reader, limit: int | None) -> Iterator[Sample | Rejected]:
    """Read the source; a row that it refuses is rejected with the reader's sentence, and rows of one id are warned of once."""
    first: dict[str, int] = {}  # id → index
    warned = False
    for index in range(min(limit or len(reader), len(reader))):
        try:
            sample = reader[index]
            if first.setdefault(sample.id, index) != index and not warned:
                log.warning("Rows %d and %d of the source have the same id, %s; they get the same voice and noise, so give"
                            " each row an id of its own.", first[sample.id], index, sample.id)
                warned = True
            yield sample
        except DataError as error:
            yield Rejected(str(index), error.kind if error.kind != "other" else "unreadable row", str(error))


def text(message: Message) -> str:
    """Give the text of a message."""
    return " ".join(part.text.strip() for part in message.content if part.type == "text" and (part.text or "").strip()
                    and part.text)


def part(value: ContentPart, folder: Path, row: str) -> dict[str, object]:
    """Give a part as messages_jsonl has it, its file as seen from the dataset's folder.

    Raises:
        DataError: its medium lies in no file.
    """
    if value.type == "text":
        return {"type": "text", "text": value.text}
    if value.path is None and value.codes is None:
        raise DataError(f"Row {row} has {value.type} that lies in no file, which a new row cannot name; take a source with"
                        " files.", kind="no file")
    found: dict[str, object] = {"type": value.type}
    if value.path is not None:
        found["path"] = os.path.relpath(Path(value.path).expanduser(), folder)
    if value.text is not None:
        found["text"] = value.text
    return found | ({"codes": to_file(value.codes)} if value.codes is not None else {})


def message(value: Message, content: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """Give a message with other content as messages_jsonl has it."""
    marks: dict[str, object] = {"state": value.state} if value.state else {}
    return {"role": value.role, "content": list(content), **marks, **({"cut": True} if value.cut else {})}


def finish(folder: Path, identity: Mapping[str, object], rows: Sequence[Mapping[str, object]], rejected: Sequence[Rejected],
           made: Mapping[str, Mapping[str, object]]) -> tuple[BuildReport, dict[str, int]]:
    """Write train.jsonl, rejected.jsonl and, last, manifest.json.

    Args:
        made: name → the journal's entry of an audio file, or why there is none.

    Returns:
        What was built, without how much of it now; and reason → turns that stayed text.

    Raises:
        EmptyDatasetError: no row is left.
    """
    reasons = dict(sorted(Counter(item.reason for item in rejected).items()))
    if not rows:
        why = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
        raise EmptyDatasetError(f"No row is left of {len(rejected)}: {why}; take another source or other options.")
    spoken = [entry for entry in made.values() if "path" in entry]
    unspoken = dict(sorted(Counter(str(entry["reason"]) for entry in made.values() if "reason" in entry).items()))
    seconds = round(sum(float(str(entry["seconds"])) for entry in spoken), 1)
    files = {"rejected.jsonl": write(folder / "rejected.jsonl", _lines(vars(item) for item in rejected)),
             "train.jsonl": write(folder / "train.jsonl", _lines(rows))}
    files |= {str(entry["path"]): str(entry["sha256"]) for entry in spoken}
    provides = _provides(rows)
    counts = {"rows": len(rows), "rejected": reasons, "audio_files": len(spoken), "seconds": seconds, "left_as_text": unspoken}
    manifest = {**identity, "counts": counts, "provides": provides, "files": dict(sorted(files.items()))}
    write(folder / "manifest.json", json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    return BuildReport(len(rows), reasons, 0, seconds, 0.0, provides), unspoken


def _provides(rows: Sequence[Mapping[str, object]]) -> tuple[str, ...]:
    """Give what is in some question, and "transcript" where all audio of questions has one."""
    values: list[dict[str, object]] = []
    for row in rows:
        messages = row["messages"]
        assert isinstance(messages, list), "as the builders write it"
        values += [value for turn in messages if turn["role"] == "user" for value in turn["content"]]
    kinds = {str(value["type"]) for value in values}
    audio = [value for value in values if value["type"] == "audio"]
    transcript = ("transcript",) if audio and all(value.get("text") for value in audio) else ()
    return (*(kind for kind in ("text", "audio", "image", "video") if kind in kinds), *transcript, "answer")


def _lines(values: Iterable[Mapping[str, object]]) -> str:
    return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)
