"""Each reader of another project's format trains a small model for three steps."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from training.test_row_policy import RECIPE

from omnikit.cli import main

FORMATS = {"llava_json": "rows.json", "sharegpt": "rows.jsonl", "openai_messages": "rows.jsonl", "nemo_manifest": "rows.json",
           "kaldi": "rows.tsv", "hf_dataset": "rows.parquet", "webdataset": "rows.tar"}


@pytest.mark.parametrize("reader", list(FORMATS))
def test_three_steps(reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = []
    for index in range(4):
        soundfile.write(f"{index}.wav", np.sin(np.arange(3200 + 100 * index)).astype(np.float32), 16000)
        rows.append({"messages": [{"role": "user", "content": [{"type": "audio", "path": f"{index}.wav"}]},
                                  {"role": "assistant", "content": f"answer {index}"}]})
    Path("own.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert main(["data", "convert", "own.jsonl", FORMATS[reader], "--to", reader]) == 0
    provides = f"data: {{rows: {{path: {FORMATS[reader]}, provides: [audio, answer]}}}}"
    recipe = RECIPE.replace("/data/rows: messages_jsonl", f"/data/rows: {reader}").replace("max_epochs: 1", "max_steps: 3")
    Path("small.yaml").write_text(recipe.replace("data: {rows: {path: rows.jsonl}}", provides))
    assert main(["train", "small.yaml", "run=run"]) == 0
    assert json.loads(Path("run/understand/manifest.json").read_text())["steps"] == 3
