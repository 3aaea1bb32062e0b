"""Each reader of another project's format trains a small model for three steps."""

import json
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pytest
import soundfile
import webdataset
from training.test_row_policy import RECIPE

from omnikit.cli import main

FORMATS = {"llava_json": "rows.json", "sharegpt": "rows.jsonl", "openai_messages": "rows.jsonl", "nemo_manifest": "rows.json",
           "kaldi": "rows.tsv", "hf_dataset": "rows.parquet", "webdataset": "rows.tar"}


def write_recordings(rows: int) -> None:
    for index in range(rows):
        soundfile.write(f"{index}.wav", np.sin(np.arange(3200 + 100 * index)).astype(np.float32), 16000)


def train(reader: str, path: str, *overrides: str) -> int:
    """Train three steps on a dataset; gives the steps that the run records."""
    provides = f"data: {{rows: {{path: {path}, provides: [audio, answer]}}}}"
    recipe = RECIPE.replace("/data/rows: messages_jsonl", f"/data/rows: {reader}").replace("max_epochs: 1", "max_steps: 3")
    Path("small.yaml").write_text(recipe.replace("data: {rows: {path: rows.jsonl}}", provides))
    assert main(["train", "small.yaml", "run=run", *overrides]) == 0
    return int(json.loads(Path("run/understand/manifest.json").read_text())["steps"])


@pytest.mark.parametrize("reader", list(FORMATS))
def test_three_steps(reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_recordings(4)
    rows = [{"messages": [{"role": "user", "content": [{"type": "audio", "path": f"{index}.wav"}]},
                          {"role": "assistant", "content": f"answer {index}"}]} for index in range(4)]
    Path("own.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert main(["data", "convert", "own.jsonl", FORMATS[reader], "--to", reader]) == 0
    assert train(reader, FORMATS[reader]) == 3


def saved(path: str) -> None:
    table().save_to_disk(path)


def parquet(path: str) -> None:
    table().to_parquet(path)


def tar(path: str) -> None:
    with webdataset.TarWriter(path) as writer:
        for index in range(4):
            writer.write({"__key__": f"{index:04d}", "wav": Path(f"{index}.wav").read_bytes(), "txt": f"answer {index}"})


def table() -> datasets.Dataset:
    rows = {"audio": [f"{index}.wav" for index in range(4)], "sentence": [f"answer {index}" for index in range(4)]}
    return datasets.Dataset.from_dict(rows).cast_column("audio", datasets.Audio())


@pytest.mark.parametrize(("reader", "path", "write"), [
    ("hf_dataset", "table", saved), ("hf_dataset", "rows.parquet", parquet), ("webdataset", "rows-000000.tar", tar)],
    ids=["save_to_disk", "to_parquet", "TarWriter"])
def test_three_steps_on_what_another_library_wrote(reader: str, path: str, write: Callable[[str], None], tmp_path: Path,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_recordings(4)
    write(path)
    assert train(reader, path, "stage=understand") == 3
