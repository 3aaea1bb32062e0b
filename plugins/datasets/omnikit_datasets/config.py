"""The settings of the readers. Imports no torch, and none of the packages that write the formats."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterable

    from omnikit.contracts.types import Sample
    from omnikit_datasets.reader import RowReader, ShardReader

PROVIDES = ("text", "audio", "image", "video", "transcript", "caption", "answer", "speech")
MEANINGS = ("id", "audio", "image", "video", "question", "answer", "transcript", "system", "offset", "duration")
T = TypeVar("T")


def _row_format(name: str) -> Callable[[type[T]], type[T]]:
    """Give what adds to a reader's settings that they are checked, and that its format is recognised and written."""
    def add(settings: type[T]) -> type[T]:
        for member, value in (("__post_init__", _check), ("recognise", staticmethod(partial(_recognise, name))),
                              ("write", staticmethod(partial(_write, name)))):
            setattr(settings, member, value)
        return settings
    return add


def _recognise(reader: str, path: Path) -> bool:
    """Say whether a file or folder is of a reader's format, by its first row."""
    from omnikit_datasets.recognise import reader_of

    return reader_of(path) == reader


def _write(reader: str, samples: Iterable[Sample], path: Path) -> Counter[str]:
    """Write samples in a reader's format; gives what it cannot hold → how often that was left out."""
    from omnikit_datasets.writers import WRITERS

    return WRITERS[reader](samples, path)


def _check(settings: object) -> None:
    """Refuse words that `provides` and `columns` do not have."""
    for name, known in (("provides", PROVIDES), ("columns", MEANINGS)):
        for word in getattr(settings, name, ()):
            if word not in known:
                raise ValueError(f"{name} holds {word!r}, but must be among {', '.join(known)}")


def _conversations(settings: LlavaJson | ShareGpt | OpenAIMessages) -> RowReader:
    """Open a file of conversations."""
    from omnikit_datasets.json_rows import JsonRows
    from omnikit_datasets.reader import RowReader, conversation, root_of, rows_file

    file = rows_file(settings.path, settings.split, (".jsonl", ".json"))
    return RowReader(JsonRows(file), conversation, root_of(settings.root, file))


@dataclass(frozen=True)
@_row_format("llava_json")
class LlavaJson:
    """Conversations of LLaVA's JSON: {id, image | video | audio, conversations: [{from: human | gpt, value}]}.

    Args:
        path: a .json list or .jsonl; or a folder, then `split` names the file in it.
        split: reads <path>/<split>.json or .jsonl.
        root: folder that relative media paths start from; None: that of the file.
        provides: what every row holds (see omnikit.contracts.configs.ReaderConfig).
        seconds: no audio in a question is longer than this; None if unknown.
    """

    path: str
    split: str | None = None
    root: str | None = None
    provides: tuple[str, ...] = ("text", "image", "answer")
    seconds: float | None = None

    build = _conversations


@dataclass(frozen=True)
@_row_format("sharegpt")
class ShareGpt:
    """Conversations of ShareGPT's JSON, and of ms-swift's: turns, with images, audios and videos in lists beside them.

    Turns stand under conversations or messages, as {from, value} or {role, content}, or as query, response and history.

    Args:
        path: a .json list or .jsonl; or a folder, then `split` names the file in it.
        split: reads <path>/<split>.jsonl or .json.
        root: folder that relative media paths start from; None: that of the file.
        provides: what every row holds.
        seconds: no audio in a question is longer than this; None if unknown.
    """

    path: str
    split: str | None = None
    root: str | None = None
    provides: tuple[str, ...] = ("text", "answer")
    seconds: float | None = None

    build = _conversations


@dataclass(frozen=True)
@_row_format("openai_messages")
class OpenAIMessages:
    """Conversations of OpenAI's JSONL: {messages: [{role, content: text | [{type: image_url | input_audio | text, …}]}]}.

    Args:
        path: a .jsonl or .json list; or a folder, then `split` names the file in it.
        split: reads <path>/<split>.jsonl or .json.
        root: folder that relative media paths start from; None: that of the file.
        provides: what every row holds.
        seconds: no audio in a question is longer than this; None if unknown.
    """

    path: str
    split: str | None = None
    root: str | None = None
    provides: tuple[str, ...] = ("text", "answer")
    seconds: float | None = None

    build = _conversations


@dataclass(frozen=True)
@_row_format("nemo_manifest")
class NemoManifest:
    """Recordings of a NeMo manifest: one {audio_filepath, duration, offset, text} in a line.

    The transcript is also the answer, unless a row has one of its own (`answer`); `question` stands behind the audio.

    Args:
        path: the manifest; or a folder, then `split` names the file in it.
        split: reads <path>/<split>.json or .jsonl.
        root: folder that relative media paths start from; None: that of the manifest.
        question: text behind each recording, where a row has none; None: the recording alone.
        columns: what stands in a key of another name, {answer: translation}.
        provides: what every row holds.
        seconds: no recording is longer than this; None if unknown.
    """

    path: str
    split: str | None = None
    root: str | None = None
    question: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    provides: tuple[str, ...] = ("audio", "transcript", "answer")
    seconds: float | None = None

    def build(self) -> RowReader:
        from omnikit_datasets.json_rows import JsonRows
        from omnikit_datasets.reader import Columns, RowReader, root_of, rows_file

        file = rows_file(self.path, self.split, (".json", ".jsonl"))
        return RowReader(JsonRows(file), Columns(self.columns, self.question).sample, root_of(self.root, file))


@dataclass(frozen=True)
@_row_format("kaldi")
class Kaldi:
    """Recordings of a Kaldi data folder (wav.scp, text, segments), or of a table id, path, text in a .tsv.

    A table may have a head that names its columns, as Common Voice's has. Commands in wav.scp are never run.

    Args:
        path: the folder, or the .tsv or .csv.
        root: folder that relative media paths start from; None: that of the files.
        question: text behind each recording, where a table has no such column; None: the recording alone.
        columns: what stands in a column of another name, {transcript: normalized}.
        provides: what every row holds.
        seconds: no recording is longer than this; None if unknown.
    """

    path: str
    root: str | None = None
    question: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    provides: tuple[str, ...] = ("audio", "transcript", "answer")
    seconds: float | None = None

    def build(self) -> RowReader:
        from omnikit_datasets.reader import Columns, RowReader, root_of
        from omnikit_datasets.tables import KaldiRows, TableRows

        path = Path(self.path).expanduser()
        rows = KaldiRows(path) if path.is_dir() else TableRows(path)
        root = root_of(self.root, path / "text" if path.is_dir() else path)
        return RowReader(rows, Columns(self.columns, self.question).sample, root)


@dataclass(frozen=True)
@_row_format("hf_dataset")
class HFDataset:
    """Rows of a Hugging Face dataset: what save_to_disk wrote, Parquet files, a dataset in the hub's cache. Needs `datasets`.

    Rows with turns (messages, conversations) are conversations; others are read by their columns. Nothing is downloaded.

    Args:
        path: a folder, a .parquet, or a dataset's id on the hub.
        name: the configuration of a dataset of the hub.
        split: which of its splits.
        root: folder that relative media paths start from; None: that of the dataset.
        question: text behind the media, where a row has none.
        columns: what stands in which column, {audio: recording, answer: reply}; well-known names need none.
        provides: what every row holds.
        seconds: no audio in a question is longer than this; None if unknown.
    """

    path: str
    name: str | None = None
    split: str | None = None
    root: str | None = None
    question: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    provides: tuple[str, ...] = ("text", "answer")
    seconds: float | None = None
    packages = ("datasets",)

    def paths(self) -> dict[str, str]:
        """Give what must be there: no path that may be an id of the hub, NAME or OWNER/NAME."""
        is_id = self.path.count("/") < 2 and not self.path.startswith(("/", ".", "~")) and not Path(self.path).suffix
        return ({} if is_id else {"path": self.path}) | ({"root": self.root} if self.root else {})

    def build(self) -> RowReader:
        from omnikit_datasets.hf_rows import HFRows
        from omnikit_datasets.reader import Columns, RowReader, TurnsOrColumns

        path = Path(self.root or self.path).expanduser()
        root = path if path.is_dir() else path.parent
        return RowReader(HFRows(self), TurnsOrColumns(Columns(self.columns, self.question)), root)


@dataclass(frozen=True)
@_row_format("webdataset")
class WebDataset:
    """Samples of tar shards: files of one name up to the first dot, a .json or .txt and media beside it.

    Shards are read through an index, in any order: mixing, shuffling and resuming are as with any other dataset.

    Args:
        path: a shard, a folder of shards, a pattern (*), or a range such as data-{000..127}.tar; not compressed.
        root: folder that paths in a .json start from, where they name no file of the same sample; None: that of the shards.
        question: text behind the media, where a sample has none.
        columns: what stands in which key of the .json, or which extension.
        provides: what every sample holds.
        seconds: no audio in a question is longer than this; None if unknown.
    """

    path: str
    root: str | None = None
    question: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    provides: tuple[str, ...] = ("text", "image", "answer")
    seconds: float | None = None

    def paths(self) -> dict[str, str]:
        """Give the first shard that is not there, and `root`."""
        from omnikit_datasets.shard_names import shards

        absent = [str(shard) for shard in shards(self.path) if not shard.exists()]
        return ({"path": absent[0]} if absent else {}) | ({"root": self.root} if self.root else {})

    def build(self) -> ShardReader:
        from omnikit_datasets.reader import Columns, ShardReader, TurnsOrColumns, root_of
        from omnikit_datasets.tar_rows import TarRows

        rows = TarRows(self.path)
        return ShardReader(rows, TurnsOrColumns(Columns(self.columns, self.question)), root_of(self.root, rows.shards[0]))
