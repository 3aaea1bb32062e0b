"""Dataset formats by file: which installed reader a file is for, what its rows hold, and rows written in another format."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omnikit import registry
from omnikit.contracts.configs import ReaderConfig
from omnikit.contracts.optional import row_options
from omnikit.contracts.protocols import Reader
from omnikit.contracts.types import Sample
from omnikit.data.batch.signals import answer_audio, question_media
from omnikit.errors import ConfigError, DataError, RunError, nearest
from omnikit.recipe.schema import construct

FIRST = 20  # rows that tell what all hold
ENDINGS = {".tar": "webdataset", ".parquet": "hf_dataset", ".tsv": "kaldi", ".jsonl": "messages_jsonl", ".json": "llava_json"}


@dataclass(frozen=True)
class Recognised:
    """A dataset that was recognised.

    Args:
        reader: the name of its reader.
        config: the reader, which `provides` what the first rows hold.
        rows: the dataset.
    """

    reader: str
    config: ReaderConfig
    rows: Reader


def recognise(path: Path, reader: str | None = None, fields: Mapping[str, object] | None = None) -> Recognised:
    """Open a dataset by its file.

    Args:
        reader: its reader, where that is not to be recognised.
        fields: fields of the reader beside `path`.

    Raises:
        ConfigError: no installed reader is for it.
        DataError: it cannot be opened.
    """
    name = reader or _recognised(path)
    errors: list[str] = []
    config: Any = construct(_component(name), {"path": str(path), **(fields or {})}, name, errors)
    if config is None or errors:
        raise ConfigError(*errors)
    rows = config.build()
    if "provides" not in (fields or {}):
        config = replace(config, provides=provided(rows))
    return Recognised(name, config, rows)


def provided(rows: Reader) -> tuple[str, ...]:
    """Give what all of a dataset's first rows hold, in a reader's words."""
    found: set[str] | None = None
    for index in range(min(FIRST, len(rows))):
        try:
            held = _held(rows[index])
        except DataError:  # it comes up again where all rows are read
            continue
        found = held if found is None else found & held
    order = ("text", "audio", "image", "video", "prompt", "transcript", "caption", "answer", "speech", "codes")
    return tuple(word for word in order if word in (found or set()))


@dataclass(frozen=True)
class Conversion:
    """What was written: rows, and what the format cannot hold → how often that was left out."""

    rows: int
    left_out: Mapping[str, int]


def convert(rows: Reader, out: Path, writer: str) -> Conversion:
    """Write a dataset in another format.

    Raises:
        ConfigError: no installed reader has that name, or it cannot write.
        DataError: a row is broken, or does not fit the format.
        RunError: `out` is there already.
    """
    write = row_options(_component(writer)).write
    if write is None:
        can = [name for name in registry.components("reader") if row_options(_component(name)).write]
        raise ConfigError(f"{writer} cannot be written; choose one of {', '.join(sorted(can))}.")
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise RunError(f"{out} exists already; remove it or choose another name.")
    if not out.parent.is_dir():
        raise RunError(f"{out} cannot be written: there is no folder {out.parent}; make it first.")
    return Conversion(len(rows), dict(write(_samples(rows), out)))


def writer_of(out: Path) -> str:
    """Give the reader whose format a file name stands for; raises ConfigError where none does."""
    if out.suffix not in ENDINGS:
        raise ConfigError(f"{out} ends in {out.suffix or 'nothing'}, which stands for no format; name one with --to, or let it"
                          f" end in {', '.join(ENDINGS)}.")
    return ENDINGS[out.suffix]


def _samples(rows: Reader) -> Iterator[Sample]:
    for index in range(len(rows)):
        yield rows[index]


def _recognised(path: Path) -> str:
    if not path.exists() and not any(mark in str(path) for mark in "*{"):
        raise DataError(f"{path} does not exist, but should be a dataset; fix it.", kind="missing file")
    for name in sorted(registry.components("reader")):
        claims = row_options(_component(name)).recognise
        if claims and claims(path):
            return name
    raise ConfigError(f"{path} is of no format that an installed reader recognises; name its reader with --from, one of"
                      f" {', '.join(sorted(registry.components('reader')))}.")


def _component(name: str) -> Any:
    known = registry.components("reader")
    if name not in known:
        raise ConfigError(f"{name!r} is not a reader.{nearest(name, known)} Readers: {', '.join(sorted(known))}.")
    return registry.component("reader", name)


def _held(sample: Sample) -> set[str]:
    media = question_media(sample)
    held = {part.type for part in media}
    asked = [part for message in sample.messages if message.role == "user" for part in message.content]
    held |= {"text"} if any(part.type == "text" and part.text for part in asked) else set()
    answers = [part for message in sample.messages if message.role == "assistant" for part in message.content]
    held |= {"answer"} if any(part.type == "text" and part.text for part in answers) else set()
    audio = [part for part in media if part.type == "audio"]
    held |= {"transcript"} if audio and all(part.text is not None for part in audio) else set()
    spoken = answer_audio(sample)
    held |= {"speech"} if any(part.codes is None for part in spoken) else set()
    return held | ({"codes"} if any(part.codes is not None for part in spoken) else set())
