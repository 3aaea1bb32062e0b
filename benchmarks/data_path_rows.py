"""Rows of a photograph-like JPEG, some seconds of audio and text, the same in every format that a loader of the bench reads.

    python benchmarks/data_path_rows.py FOLDER [ROWS]
"""

import io
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

ROWS, SIDE, SECONDS, RATE = 5000, 336, 3, 16000
MEDIA = 50  # different images and recordings; each row has files of its own with one of each
SHARD, CHUNK = 500, "64MB"  # rows of a tar shard; bytes of a chunk of litdata
WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "while", "many", "birds", "sing"]
RECIPE = """\
# @package _global_
defaults:
  - /recipe
  - /vision/encoder: openclip_vit_l_14_336
  - /vision/projector: mlp_2x
  - /audio/encoder: whisper_tiny_random
  - /audio/projector: stack_mlp
  - /backbone: llama_tiny_random
  - /text/head: lm
  - /data/files: messages_jsonl
  - /data/shards: webdataset
  - /data/table: hf_dataset
  - _self_
system: ""
backbone: {{context: 2048}}
data:
  files: {{path: {folder}/rows.jsonl, provides: [text, image, audio, answer], seconds: {seconds}}}
  shards: {{path: {folder}/tar, provides: [text, image, audio, answer], seconds: {seconds}}}
  table: {{path: {folder}/parquet, provides: [text, image, audio, answer], seconds: {seconds}}}
"""


@dataclass(frozen=True)
class RowFiles:
    """A row: the bytes of its media files, and its texts."""

    name: str
    image: bytes
    audio: bytes
    question: str
    answer: str


def made_rows(count: int = ROWS) -> Iterator[RowFiles]:
    """Make rows; the same each time."""
    images, audio = [_jpeg(number) for number in range(MEDIA)], [_wav(number) for number in range(MEDIA)]
    for number in range(count):
        random = np.random.default_rng(number)
        question, answer = " ".join(random.choice(WORDS, 12)), " ".join(random.choice(WORDS, random.integers(10, 40)))
        yield RowFiles(f"{number:05d}", images[number % MEDIA], audio[number * 7 % MEDIA], question, answer)


def write(folder: Path, count: int = ROWS) -> None:
    """Write rows in every format, and the recipe that reads ours; a folder that is complete is left as it is."""
    if (folder / "complete").exists() and (folder / "complete").read_text() == str(count):
        return
    writers: list[Callable[[Path, int], None]] = [_write_files, _write_tar, _write_parquet]
    for writer in [*writers, *([_write_litdata] if find_spec("litdata") else [])]:
        writer(folder, count)
    (folder / "recipe.yaml").write_text(RECIPE.format(folder=folder, seconds=SECONDS))
    (folder / "complete").write_text(str(count))


def _jpeg(number: int) -> bytes:
    random = np.random.default_rng(number)
    coarse = Image.fromarray(random.integers(0, 256, (12, 12, 3), dtype=np.uint8))
    smooth = coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    noisy = np.asarray(smooth).astype(np.float64) + random.normal(0, 8, (SIDE, SIDE, 1))
    buffer = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _wav(number: int) -> bytes:
    buffer = io.BytesIO()
    waveform = np.random.default_rng(number).normal(0, 0.1, SECONDS * RATE)
    soundfile.write(buffer, waveform, RATE, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def _write_files(folder: Path, count: int) -> None:
    media = folder / "media"
    media.mkdir(parents=True, exist_ok=True)
    with (folder / "rows.jsonl").open("w") as lines:
        for row in made_rows(count):
            (media / f"{row.name}.jpg").write_bytes(row.image)
            (media / f"{row.name}.wav").write_bytes(row.audio)
            content = [{"type": "audio", "path": f"media/{row.name}.wav"}, {"type": "image", "path": f"media/{row.name}.jpg"},
                       {"type": "text", "text": row.question}]
            messages = [{"role": "user", "content": content}, {"role": "assistant", "content": row.answer}]
            lines.write(json.dumps({"id": row.name, "messages": messages}) + "\n")


def _write_tar(folder: Path, count: int) -> None:
    import webdataset

    (folder / "tar").mkdir(parents=True, exist_ok=True)
    with webdataset.ShardWriter(f"{folder}/tar/%03d.tar", maxcount=SHARD, verbose=0) as shards:
        for row in made_rows(count):
            shards.write({"__key__": row.name, "jpg": row.image, "wav": row.audio,
                          "json": json.dumps({"question": row.question, "answer": row.answer}).encode()})


def _write_parquet(folder: Path, count: int) -> None:
    import datasets

    text, audio = datasets.Value("string"), {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    features = datasets.Features({"id": text, "image": datasets.Image(), "audio": audio, "question": text, "answer": text})
    rows = list(made_rows(count))
    (folder / "parquet").mkdir(parents=True, exist_ok=True)
    for start in range(0, count, SHARD):
        part = [{"id": row.name, "image": {"bytes": row.image, "path": None}, "audio": {"bytes": row.audio, "path": None},
                 "question": row.question, "answer": row.answer} for row in rows[start:start + SHARD]]
        table = datasets.Dataset.from_list(part, features=features)
        table.to_parquet(f"{folder}/parquet/{start // SHARD:03d}.parquet")


def _write_litdata(folder: Path, count: int) -> None:
    import litdata

    litdata.optimize(fn=_LitdataRow(folder), inputs=list(range(count)), output_dir=str(folder / "litdata"), chunk_bytes=CHUNK,
                     num_workers=1, mode="overwrite", verbose=False)


class _LitdataRow:
    """Gives a row as litdata stores it; an image as PIL's, which it stores as the JPEG that it is."""

    def __init__(self, folder: Path) -> None:
        self.lines = (folder / "rows.jsonl").read_text().splitlines()
        self.media = folder / "media"

    def __call__(self, number: int) -> dict[str, object]:
        row = json.loads(self.lines[number])
        asked, answered = row["messages"]
        return {"id": row["id"], "image": Image.open(self.media / f"{row['id']}.jpg"),
                "audio": (self.media / f"{row['id']}.wav").read_bytes(),
                "question": asked["content"][2]["text"], "answer": answered["content"]}


if __name__ == "__main__":
    write(Path(sys.argv[1]).absolute(), int(sys.argv[2]) if len(sys.argv) > 2 else ROWS)
