"""Samples written in the formats that this package reads. Each writer gives what its format cannot hold, and how often."""

from __future__ import annotations

import base64
import io
import json
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import soundfile

from omnikit.contracts.types import ContentPart, Message, Sample
from omnikit.data.media_files import media_content, media_path
from omnikit.errors import ConfigError, DataError
from omnikit.store.files import atomic_file

Lost = Counter[str]
ROLES = {"user": "human", "assistant": "gpt", "system": "system"}
SHARD = 1000  # samples of a tar shard
GROUP = 100  # rows that are in memory at once
MIME = {"audio": "audio", "image": "image", "video": "video"}


def write_llava(samples: Iterable[Sample], path: Path) -> Lost:
    """Write a JSON list of {id, image, video, audio, conversations: [{from, value}]}."""
    lost: Lost = Counter()
    rows = (_listed(sample, path, lost, ("from", "value"), "conversations") for sample in samples)
    _write_json(rows, path, as_list=path.suffix != ".jsonl")
    return lost


def write_sharegpt(samples: Iterable[Sample], path: Path) -> Lost:
    """Write {messages: [{role, content}], images, audios, videos} in JSON Lines, as ms-swift has it."""
    lost: Lost = Counter()
    rows = (_listed(sample, path, lost, ("role", "content"), "messages") for sample in samples)
    _write_json(rows, path, as_list=path.suffix == ".json")
    return lost


def write_openai(samples: Iterable[Sample], path: Path) -> Lost:
    """Write {messages: [{role, content: [{type: text | image_url | input_audio}]}]} in JSON Lines, media as base64."""
    lost: Lost = Counter()

    def row(sample: Sample) -> dict[str, object]:
        return {"messages": [{"role": message.role, "content": [_openai_part(part) for part in _saved_parts(message, lost)]}
                             for message in sample.messages]}

    _write_json((row(sample) for sample in samples), path, as_list=path.suffix == ".json")
    return lost


def write_nemo(samples: Iterable[Sample], path: Path) -> Lost:
    """Write {audio_filepath, duration, text, question, answer} in JSON Lines."""
    lost: Lost = Counter()

    def row(sample: Sample) -> dict[str, object]:
        speech = _speech(sample, path, lost)
        return {"id": sample.id, "audio_filepath": speech.pop("audio"), "duration": _seconds(path, speech, sample), **speech}

    _write_json((_renamed(row(sample)) for sample in samples), path, as_list=False)
    return lost


def write_table(samples: Iterable[Sample], path: Path) -> Lost:
    """Write a TSV with the columns id, audio, transcript, question, answer."""
    lost: Lost = Counter()
    columns = ("id", "audio", "transcript", "question", "answer")
    with atomic_file(path) as part, part.open("w", encoding="utf-8") as stream:
        stream.write("\t".join(columns) + "\n")
        for sample in samples:
            values = {"id": sample.id, **_speech(sample, path, lost)}
            cells = [str(values.get(column, "")) for column in columns]
            if any(mark in cell for cell in cells for mark in "\t\r\n"):
                raise DataError(f"Row {sample.id} holds a tab or a line break, which a table cannot hold; write JSON instead.",
                                kind="wrong format")
            stream.write("\t".join(cells) + "\n")
    return lost


def write_hf(samples: Iterable[Sample], path: Path) -> Lost:
    """Write rows {id, messages} with their media as bytes: one .parquet, which lies in the folder `path` if that is none."""
    try:
        import pyarrow  # type: ignore[import-untyped]
        from datasets import Features, Value  # type: ignore[import-untyped]
        from pyarrow.parquet import ParquetWriter  # type: ignore[import-untyped]
    except ImportError:
        raise ConfigError("hf_dataset needs the package datasets, which is not installed; pip install datasets.") from None
    lost: Lost = Counter()
    text, part = Value("string"), {"type": Value("string"), "text": Value("string"), "bytes": Value("binary")}
    features = Features({"id": text, "messages": [{"role": text, "content": [part]}]})

    def row(sample: Sample) -> dict[str, object]:
        return {"id": sample.id, "messages": [{"role": message.role, "content": [
            {"type": part.type, "text": part.text, "bytes": None if part.type == "text" else media_content(part)[0]}
            for part in _saved_parts(message, lost, transcripts=True)]} for message in sample.messages]}

    file = path if path.suffix == ".parquet" else path / "train.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    rows, schema = map(row, samples), features.arrow_schema
    with atomic_file(file) as temporary, ParquetWriter(temporary, schema) as writer:
        while group := list(islice(rows, GROUP)):
            writer.write_table(pyarrow.Table.from_pylist(group, schema=schema))
    return lost


def write_shards(samples: Iterable[Sample], path: Path) -> Lost:
    """Write tar shards of SHARD samples, each a .json and its media beside it; a single shard where `path` ends in .tar."""
    lost: Lost = Counter()
    if path.suffix == ".tar":
        with atomic_file(path) as part, part.open("wb") as stream:
            _write_shard(enumerate(samples), stream, lost)
        return lost
    path.mkdir(parents=True, exist_ok=True)
    numbered = enumerate(samples)
    for shard, first in enumerate(numbered):
        with atomic_file(path / f"data-{shard:06d}.tar") as part, part.open("wb") as stream:
            _write_shard(_with_first(first, numbered, SHARD - 1), stream, lost)
    return lost


WRITERS: dict[str, Callable[[Iterable[Sample], Path], Lost]] = {
    "llava_json": write_llava, "sharegpt": write_sharegpt, "openai_messages": write_openai, "nemo_manifest": write_nemo,
    "kaldi": write_table, "hf_dataset": write_hf, "webdataset": write_shards}


def _with_first(first: tuple[int, Sample], rest: Iterator[tuple[int, Sample]], most: int) -> Iterator[tuple[int, Sample]]:
    yield first
    for _ in range(most):
        if (following := next(rest, None)) is None:
            return
        yield following


def _write_shard(samples: Iterable[tuple[int, Sample]], stream: BinaryIO, lost: Lost) -> None:
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for number, sample in samples:
            key, media = f"{number:09d}", list[tuple[str, bytes]]()

            def content(part: ContentPart, media: list[tuple[str, bytes]] = media) -> dict[str, object]:
                if part.type == "text":
                    return {"type": "text", "text": part.text}
                data, suffix = media_content(part)
                media.append((f"{len(media)}{suffix}", data))
                text = {} if part.text is None else {"text": part.text}
                return {"type": part.type, "path": media[-1][0], **text}

            row = {"id": sample.id, "messages": [
                {"role": message.role, "content": [content(part) for part in _saved_parts(message, lost, transcripts=True)]}
                for message in sample.messages]}
            files = [("json", json.dumps(row, ensure_ascii=False).encode()), *media]
            for name, data in files:
                info = tarfile.TarInfo(f"{key}.{name}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


def _saved_parts(message: Message, lost: Lost, *, transcripts: bool = False) -> list[ContentPart]:
    """Give the parts that a format without codes, states and prompts holds; counts what is left out."""
    lost.update({"turn states": 1} if message.state else {})
    lost.update({"cut marks": 1} if message.cut else {})
    saved = [part for part in message.content if part.type != "prompt"]
    lost.update({"prompts": len(message.content) - len(saved)} if len(saved) < len(message.content) else {})
    for part in saved:
        lost.update({"codes": 1} if part.codes is not None else {})
        lost.update({"transcripts": 1} if part.type != "text" and part.text is not None and not transcripts else {})
    silent = [part for part in saved if part.type != "text" and part.path is None and part.data is None and part.audio is None
              and part.pixels is None]
    return [part for part in saved if part not in silent] if silent else saved


def _listed(sample: Sample, path: Path, lost: Lost, keys: tuple[str, str], turns: str) -> dict[str, object]:
    """Give a row with placeholders in its texts, and its files in lists beside them."""
    files: dict[str, list[str]] = {"image": [], "audio": [], "video": []}

    def text(message: Message) -> str:
        pieces = []
        for part in _saved_parts(message, lost):
            if part.type == "text":
                pieces.append(part.text or "")
            elif message.role == "assistant":
                lost.update({"answers' media": 1})
            else:
                number = sum(map(len, files.values()))
                files[part.type].append(media_path(part, path.parent, f"{sample.id}_{number}"))
                pieces.append(f"<{part.type}>")
        return "\n".join(pieces)

    listed = [{keys[0]: ROLES[message.role] if keys[0] == "from" else message.role, keys[1]: text(message)}
            for message in sample.messages]
    if keys[0] == "from":
        media: Mapping[str, object] = {kind: found[0] if len(found) == 1 else found for kind, found in files.items() if found}
    else:
        media = {f"{kind}s": found for kind, found in files.items() if found}
    return {"id": sample.id, **media, turns: listed}


def _openai_part(part: ContentPart) -> dict[str, object]:
    if part.type == "text":
        return {"type": "text", "text": part.text}
    data, suffix = media_content(part)
    encoded = base64.b64encode(data).decode()
    if part.type == "audio":
        return {"type": "input_audio", "input_audio": {"data": encoded, "format": suffix.removeprefix(".")}}
    kind = f"{part.type}_url"
    return {"type": kind, kind: {"url": f"data:{MIME[part.type]}/{suffix.removeprefix('.')};base64,{encoded}"}}


def _speech(sample: Sample, path: Path, lost: Lost) -> dict[str, object]:
    """Give {audio, transcript, question, answer} of a row that is one recording and its answer."""
    asked = [part for message in sample.messages if message.role == "user" for part in message.content]
    audio = [part for part in asked if part.type == "audio"]
    answers = [message for message in sample.messages if message.role == "assistant"]
    if len(audio) != 1 or len(answers) != 1 or any(part.type not in ("audio", "text") for part in asked):
        raise DataError(f"Row {sample.id} has {len(audio)} recordings and {len(answers)} answers, but a table of speech"
                        " holds one of each, and no images; choose another format, messages_jsonl.", kind="wrong format")
    for message in sample.messages:
        lost.update({"system prompts": 1} if message.role == "system" else {})
    answer = "\n".join(part.text or "" for part in _saved_parts(answers[0], lost) if part.type == "text")
    question = "\n".join(part.text or "" for part in asked if part.type == "text")
    found: dict[str, object] = {"audio": media_path(audio[0], path.parent, f"{sample.id}_0"), "transcript": audio[0].text,
                                "question": question or None, "answer": answer}
    return {key: value for key, value in found.items() if value is not None}


def _renamed(row: dict[str, object]) -> dict[str, object]:
    """Name the transcript as NeMo does."""
    return {"text" if key == "transcript" else key: value for key, value in row.items()}


def _seconds(path: Path, speech: Mapping[str, object], sample: Sample) -> float:
    part = next(part for message in sample.messages if message.role == "user" for part in message.content
                if part.type == "audio")
    try:
        return round(float(soundfile.info(io.BytesIO(media_content(part)[0])).duration), 4)
    except soundfile.LibsndfileError as error:
        raise DataError(f"Row {sample.id}: its audio is not readable ({error.error_string}).",
                        kind="unreadable audio") from None


def _write_json(rows: Iterable[Mapping[str, object]], path: Path, *, as_list: bool) -> None:
    with atomic_file(path) as part, part.open("w", encoding="utf-8") as stream:
        for number, row in enumerate(rows):
            begin = ("[\n" if not number else ",\n") if as_list else ""
            stream.write(f"{begin}{json.dumps(row, ensure_ascii=False)}{'' if as_list else chr(10)}")
        stream.write("\n]\n" if as_list else "")
