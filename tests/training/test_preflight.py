"""What the last stage or the evaluation names is looked for before the first stage, by `train` and by `check`."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from omnikit_spoken_qa.config import SpokenQA

from omnikit.cli import main

RECIPE = """\
# @package _global_
# A small model that reads audio, in three stages.
defaults:
  - /recipe
  - /audio/encoder: whisper_tiny_random
  - /audio/projector: stack_mlp_2x256
  - /backbone: llama_tiny_random
  - /text/head: lm
  - /transcript/head: ctc_text_stacked
  - /speech/units: mel_units
  - /data/rows: messages_jsonl
  - /data/late: messages_jsonl
  - /data/spoken: spoken_qa
  - /data/shards: webdataset
  - /data/table: hf_dataset
  - _self_
data:
  rows: {path: rows.jsonl}
  late: {path: late.jsonl}
  shards: {path: shards}
  table: {path: table}
audio: {encoder: {layers: 1}}
backbone: {layers: 1}
trainer: {accelerator: cpu, max_steps: 1, batch_size: 2}
stages:
  first:
    train: {audio: {projector: full}}
    loss: {text: 1.0}
    data: {rows: 1.0}
  last:
    after: first
    train: {audio: {projector: full}, backbone: full}
    loss: {text: 1.0}
    data: {rows: 1.0, late: 1.0}
evaluate: {data: {held_out: late}}
"""
LAST = "+stages.last.data"
FAULTS = {
    "data": (["data.late.path=typo.jsonl"], "data.late.path: typo.jsonl does not exist"),
    "root": (["data.late.root=typo"], "data.late.root: typo does not exist"),
    "split": (["data.late.path=.", "data.late.split=tran"], "data.late.split: tran.* does not exist"),
    "validation": (["+stages.last.validate.data.shards=1.0"], "data.shards.path: shards does not exist"),
    "shards": (["data.shards.path=a-*.tar", f"{LAST}.shards=1.0"], "data.shards.path: a-*.tar does not exist"),
    "voices": ([f"{LAST}.spoken=1.0", "data.spoken.tts=espeakk"],
               "data.spoken.tts is 'espeakk', which is not an installed text-to-speech. Did you mean 'espeak'"),
    "voices of the evaluation": (["+evaluate.data.spoken=spoken", "data.spoken.tts=espeakk"], "data.spoken.tts is 'espeakk'"),
    "weights": (["backbone.weights=typo"], "backbone.weights: typo does not exist"),
    "tokenizer": (["backbone.tokenizer=./typo.json"], "backbone.tokenizer: ./typo.json does not exist"),
    "own tokenizer": (["transcript.head.tokenizer=./typo.json"], "transcript.head.tokenizer is './typo.json', but neither"),
    "ASR model": (["evaluate.asr=asr/tinny"], "evaluate.asr is 'asr/tinny', which is neither a recipe nor a run with a finished"
                  " stage. Did you mean 'asr/tiny'"),
    "tracker": (["+stages.last.trainer.logger=[none_such]"], "none_such"),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    soundfile.write("a.wav", np.sin(np.arange(3200)).astype(np.float32), 16000)
    row = json.dumps({"messages": [{"role": "user", "content": [{"type": "audio", "path": "a.wav"}]},
                                   {"role": "assistant", "content": [{"type": "text", "text": "yes"}]}]})
    for name in ("rows", "late"):
        Path(f"{name}.jsonl").write_text(f"{row}\n{row}\n")
    Path("small.yaml").write_text(RECIPE)
    return tmp_path


@pytest.mark.parametrize("command", ["check", "train"])
@pytest.mark.parametrize(("overrides", "message"), FAULTS.values(), ids=FAULTS)
def test_fault_of_the_last_stage_is_found_at_once(folder: Path, command: str, overrides: list[str], message: str,
                                                  capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "small.yaml", "run=run", *overrides]) == 2
    printed = capsys.readouterr().err
    assert message in printed and len(printed.splitlines()) == 1
    assert not Path("run/first").exists()


def test_all_faults_are_named_together(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "small.yaml", "data.late.path=typo.jsonl", "evaluate.asr=typo", "backbone.weights=typo"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 3


def test_voice_that_the_synthesiser_lacks_is_found_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch,
                                                           capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(SpokenQA, "voices", ("en-us", "xx-none"))
    assert main(["train", "small.yaml", "run=run", f"{LAST}.spoken=1.0"]) == 2
    assert "data.spoken.tts is espeak: espeak-ng has no voice 'xx-none'" in capsys.readouterr().err
    assert not Path("run/first").exists()


def test_missing_package_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("omnikit.plan.missing.find_spec", lambda name: None)
    argv = ["small.yaml", f"{LAST}.table=1.0", "data.table.path=own/rows"]
    assert main(["check", *argv]) == 0  # another machine may have it
    assert "Before training: data.table needs the package datasets, which is not installed" in capsys.readouterr().out
    assert main(["train", *argv]) == 2
    assert "data.table needs the package datasets, which is not installed" in capsys.readouterr().err


def test_place_that_a_preset_proposes_is_only_mentioned(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "llama_omni/full"]) == 0
    assert "Before training: data.conversations.path: data/instruct_s2s/train.jsonl does not exist" in (
        capsys.readouterr().out)


def test_what_no_stage_uses_may_be_missing(folder: Path) -> None:
    assert main(["check", "small.yaml", "data.shards.path=typo"]) == 0


def test_recipe_without_faults_is_trained(folder: Path) -> None:
    assert main(["train", "small.yaml", "run=run"]) == 0
