"""Bad rows are a policy: stop, or skip with a list and a limit; filters leave good rows out. Nothing is silent."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from omnikit.cli import main
from omnikit.recipe.compose import compose

RECIPE = """\
# @package _global_
# A small model that reads audio.
defaults:
  - /recipe
  - /audio/encoder: whisper_tiny_random
  - /audio/projector: stack_mlp_2x256
  - /backbone: llama_tiny_random
  - /text/head: lm
  - /data/rows: messages_jsonl
  - _self_
data: {rows: {path: rows.jsonl}}
audio: {encoder: {layers: 1}}
backbone: {layers: 1}
stages:
  understand:
    train: {audio: {projector: full}}
    loss: {text: 1.0}
    data: {rows: 1.0}
    trainer: {max_epochs: 1, batch_size: 2, accelerator: cpu}
"""
ROWS = 8
TRAIN = ["train", "small.yaml", "run=run"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Rows of which 2 is not JSON, 3 names a file that is missing, 5 one that is not audio, and 6 one of 3 seconds."""
    monkeypatch.chdir(tmp_path)
    lines = []
    for index in range(ROWS):
        soundfile.write(f"{index}.wav", np.sin(np.arange(48000 if index == 6 else 3200 + index)).astype(np.float32), 16000)
        lines.append(json.dumps({"id": f"r{index}", "messages": [
            {"role": "user", "content": [{"type": "audio", "path": f"{index}.wav"}]},
            {"role": "assistant", "content": [{"type": "text", "text": f"answer {index}"}]}]}))
    lines[2] = "{"
    Path("3.wav").unlink()
    Path("5.wav").write_bytes(b"noise")
    Path("rows.jsonl").write_text("\n".join(lines))
    Path("small.yaml").write_text(RECIPE)
    return tmp_path


def skipped() -> dict[int, str]:
    lines = Path("run/understand/skipped.jsonl").read_text().splitlines()
    return {row["index"]: row["kind"] for row in map(json.loads, lines)}


@pytest.mark.parametrize("extra", [[], ["stages.understand.trainer.workers=2"], ["stages.understand.trainer.pack=256"],
                                   ["stages.understand.trainer.batch_tokens=100"]],
                         ids=["alone", "workers", "packed", "tokens"])
def test_bad_rows_are_skipped_and_listed(folder: Path, extra: list[str]) -> None:
    assert main([*TRAIN, "data.rows.on_error=skip", *extra]) == 0
    assert skipped() == {2: "not JSON", 3: "missing file", 5: "unreadable audio"}
    assert json.loads(Path("run/understand/manifest.json").read_text())["numbers"]["skipped rows"] == 3


@pytest.mark.parametrize("workers", [0, 2])
def test_error_stops_with_the_same_sentence_in_workers(folder: Path, workers: int, capsys: pytest.CaptureFixture[str]) -> None:
    rows = Path("rows.jsonl").read_text().splitlines()
    Path("rows.jsonl").write_text("\n".join([rows[0], rows[1], rows[4], rows[7], rows[5]]))
    assert main([*TRAIN, f"stages.understand.trainer.workers={workers}"]) == 2
    lines = capsys.readouterr().err.splitlines()
    found = [line for line in lines if line.startswith("omnikit:")]
    assert len(found) == 1 and "Row r5: " in found[0] and "is not a readable audio file" in found[0]
    assert not any("Traceback" in line for line in lines)


def test_more_bad_rows_than_allowed_stop(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TRAIN, "data.rows.on_error=skip", "data.rows.max_skipped=2"]) == 2
    assert "3 rows of dataset rows cannot be used, but data.rows.max_skipped is 2; the last one:" in capsys.readouterr().err


def test_filter_leaves_good_rows_out_and_is_no_error(folder: Path) -> None:
    rows = Path("rows.jsonl").read_text().splitlines()
    Path("rows.jsonl").write_text("\n".join([rows[0], rows[1], rows[6], rows[7]]))
    assert main([*TRAIN, "data.rows.filter.max_seconds=1"]) == 0
    assert skipped() == {2: "filtered"}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("setting", ["pack=256", "batch_tokens=100"])
def test_error_of_a_row_that_workers_measure_is_the_same_sentence(folder: Path, workers: int, setting: str,
                                                                  capsys: pytest.CaptureFixture[str]) -> None:
    rows = Path("rows.jsonl").read_text().splitlines()
    Path("rows.jsonl").write_text("\n".join([*[rows[0]] * 140, rows[3]]))
    assert main([*TRAIN, f"stages.understand.trainer.workers={workers}", f"stages.understand.trainer.{setting}"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.startswith("omnikit: ") and "3.wav" in line for line in lines if "omnikit" in line] == [True], lines
    assert not any("Traceback" in line for line in lines)


def test_filter_by_positions(folder: Path) -> None:
    rows = Path("rows.jsonl").read_text().splitlines()
    long = json.loads(rows[1])
    long["messages"][1]["content"][0]["text"] = "word " * 200
    Path("rows.jsonl").write_text("\n".join([rows[0], json.dumps(long), rows[7]]))
    assert main([*TRAIN, "data.rows.filter.max_tokens=150"]) == 0
    assert skipped() == {1: "filtered"}


LATER = "  later: {train: {backbone: full}, loss: {text: 1.0}, data: {other: 1.0}, trainer: {max_steps: 1}}\n"


@pytest.mark.parametrize("end", [LATER, "evaluate: {data: {test: other}}\n"], ids=["later stage", "evaluation"])
def test_dataset_of_a_later_stage_is_opened_before_the_first(folder: Path, end: str,
                                                             capsys: pytest.CaptureFixture[str]) -> None:
    Path("rows.jsonl").write_text(Path("rows.jsonl").read_text().splitlines()[0])
    Path("small.yaml").write_text(RECIPE + end)
    assert main([*TRAIN, "+data/other=messages_jsonl", "data.other.path=none.jsonl"]) == 2
    assert "none.jsonl does not exist" in capsys.readouterr().err
    assert not Path("run/understand").exists()


def test_half_of_a_character_is_a_sentence_with_the_row(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = json.loads(Path("rows.jsonl").read_text().splitlines()[0])
    row["messages"][1]["content"][0]["text"] = "hi \ud83d"
    Path("rows.jsonl").write_text(json.dumps(row))
    assert main(TRAIN) == 2
    printed = capsys.readouterr().err
    assert "Row r0: the text 'hi \\ud83d' holds half of a character" in printed and "Traceback" not in printed


def test_policy_at_its_default_changes_no_fingerprint(folder: Path) -> None:
    plain, stated, other = (compose("small.yaml", each).fingerprint() for each in
                            ([], ["data.rows.on_error=stop"], ["data.rows.on_error=skip"]))
    assert plain == stated != other


@pytest.mark.parametrize(("override", "message"), [
    ("data.rows.on_error=ignore", "data.rows.on_error is 'ignore', but must be one of"),
    ("data.rows.filter.max_seconds=-1", "data.rows.filter.max_seconds is -1.0, but must be at least 0"),
    ("+data.rows.filter.max_second=1", "max_second"),
], ids=["value", "range", "key"])
def test_wrong_policy_is_a_sentence(folder: Path, override: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "small.yaml", override]) == 2
    assert message in capsys.readouterr().err
