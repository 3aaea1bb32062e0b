"""Which reader a file or folder is for, by its name and its first row. Imports none of the packages that write the formats."""

import json
from collections.abc import Mapping
from pathlib import Path

from omnikit_datasets.tables import HEAD

PEEK = 1 << 22  # bytes in which the first row must end
LISTS = ("images", "audios", "videos")


def reader_of(path: Path) -> str | None:
    """Give the name of the reader, or None."""
    if path.is_dir():
        return _folder(path)
    suffix = path.suffix.lower()
    if suffix == ".tar":
        return "webdataset"
    if suffix in (".parquet", ".arrow"):
        return "hf_dataset"
    if suffix in (".tsv", ".csv"):
        return "kaldi" if _is_table(path) else None
    row = first_row(path) if suffix in (".json", ".jsonl") else None
    return _row(row) if row else None


def first_row(path: Path) -> Mapping[str, object] | None:
    """Give the first object of a JSON list or of JSON Lines; None where there is none."""
    with path.open("rb") as stream:
        text = stream.read(PEEK).decode("utf-8-sig", errors="replace").lstrip()
    try:
        found: object = json.JSONDecoder().raw_decode(text.removeprefix("[").lstrip())[0]
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _folder(path: Path) -> str | None:
    if (path / "wav.scp").is_file() and (path / "text").is_file():
        return "kaldi"
    if (path / "dataset_info.json").is_file() or (path / "dataset_dict.json").is_file() or any(path.glob("*.parquet")):
        return "hf_dataset"
    return "webdataset" if any(path.glob("*.tar")) else None


def _is_table(path: Path) -> bool:
    with path.open("rb") as stream:
        head = stream.readline().decode("utf-8-sig", errors="replace").strip("\r\n")
    cells = head.split("\t" if "\t" in head else ",")
    return len(cells) > 1 and (bool(HEAD & {cell.lower() for cell in cells}) or len(cells) == 3)


def _row(row: Mapping[str, object]) -> str | None:
    if "audio_filepath" in row:
        return "nemo_manifest"
    named = [row.get(key) for key in ("conversations", "conversation", "messages")]
    turns = next((value for value in named if isinstance(value, list)), [])
    if "query" in row and "response" in row:
        return "sharegpt"
    if not turns or not all(isinstance(turn, dict) for turn in turns):
        return None
    if any(isinstance(row.get(key), list) for key in LISTS):
        return "sharegpt"
    if "messages" not in row:
        return "llava_json" if {"image", "video", "audio"} & set(row) and "from" in turns[0] else "sharegpt"
    return "openai_messages" if "role" in turns[0] else None  # behind messages_jsonl, which is asked before
