# ruff: noqa: E501  # a command and its sentence stand in one line
"""`omnikit data`: what is built trains, what a stage gets is shown, and mistakes are one sentence."""

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
from instructions import mixed

from omnikit.cli import main

RECIPE = """\
# @package _global_
# A small LLaMA-Omni on rows that `omnikit data build` made.
defaults:
  - /recipe
  - /audio/encoder: whisper_tiny_random
  - /audio/projector: stack_mlp_2x256
  - /backbone: llama_tiny_random
  - /text/head: lm
  - /transcript/head: ctc_text
  - /speech/head: ctc_units_tiny_random
  - /speech/codec: mel_units
  - /data/built: messages_jsonl
  - _self_
system: ""
data: {built: {path: out/train.jsonl, provides: [audio, transcript, answer, speech], seconds: 30}}
audio: {encoder: {layers: 1}}
backbone: {layers: 1}
speech: {codec: {units: 20, iterations: 2, duration_steps: 2, griffin_lim: 1}}
stages:
  units: {objective: units, train: {speech: {codec: full}}, data: {built: 1.0}}
  understand:
    train: {audio: full, backbone: full, transcript: full}
    loss: {text: 1.0, transcript: 0.3}
    data: {built: 1.0}
    trainer: {max_steps: 2, batch_size: 2}
  speak:
    train: {speech: {head: full}}
    loss: {speech: 1.0}
    data: {built: 1.0}
    trainer: {max_steps: 2, batch_size: 2}
generate: {max_new_tokens: 8}
"""
BUILD = ["data", "build", "spoken_instructions", "source=in.json"]


@pytest.fixture(scope="module")
def works(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with built rows and a run that was trained on them."""
    folder = tmp_path_factory.mktemp("works")
    (folder / "in.json").write_text(json.dumps(mixed(30)))
    (folder / "small.yaml").write_text(RECIPE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main([*BUILD, "out=out", "limit=14"]) == 0
        assert main(["train", "small.yaml", "run=run"]) == 0
    return folder


@pytest.fixture(autouse=True)
def inside(works: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(works)


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(words) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    return shown.out


def test_built_rows_train_every_stage(works: Path) -> None:
    assert [(works / "run" / stage / "done").is_file() for stage in ("units", "understand", "speak")] == [True] * 3
    losses = (works / "run" / "understand" / "metrics.csv").read_text().splitlines()
    assert losses[0].startswith("step,lr,loss.text,loss.transcript") and len(losses) > 1


def test_run_makes_the_codes_of_the_next_dataset(works: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "provides=[audio,transcript,answer,speech,codes]" in printed(capsys, *BUILD, "out=coded", "limit=3", "units=run")
    row = json.loads((works / "coded" / "train.jsonl").read_text().splitlines()[0])
    codes = row["messages"][1]["content"][1]["codes"]
    assert len(codes) > 5 and all(one != other for one, other in pairwise(codes))  # runs are merged
    assert json.loads((works / "coded" / "manifest.json").read_text())["versions"]["units"]


def test_run_rewrites_what_is_asked(works: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main([*BUILD, "out=rewritten", "limit=3", "rewriter=run"])
    shown = capsys.readouterr()  # two steps teach no words: what matters is that its answers came and met the rules
    assert code == 0 or re.search(r"No row is left of 3: .*rewritten question", shown.err)
    batches = [json.loads(line) for line in (works / "rewritten" / ".build" / "rewritten.jsonl").read_text().splitlines()]
    assert [len(batch["rewritten"]) for batch in batches] == [3]


def test_inspect_shows_origins_and_codes_of_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    shown = printed(capsys, "data", "inspect", "small.yaml", "run=run", "--stage", "speak", "--rows", "2", "--html", "batch.html")
    assert "small, stage speak: 2 rows of built" in shown and "note" not in shown
    assert re.search(r"\d+–\d+ +audio +\d+ embeddings, [\d.]+ s, “", shown) and re.search(r"speech \(\d+\) +\d+ \d+", shown)
    assert Path("batch.html").read_text().count("<section>") == 2


def test_inspect_without_a_run_states_why_codes_are_missing(capsys: pytest.CaptureFixture[str]) -> None:
    shown = " ".join(printed(capsys, "data", "inspect", "small.yaml", "--stage", "speak").split())
    assert "note The targets of speech are made by speech.codec, which stage units trains; train that stage first to see them." in shown


def test_inspect_takes_the_first_stage_with_batches(capsys: pytest.CaptureFixture[str]) -> None:
    shown = printed(capsys, "data", "inspect", "small.yaml", "--rows", "1")
    assert "stage understand: 1 row " in shown and re.search(r"answer +text ", shown) and re.search(r"transcript \(\d+\)", shown)


def test_inspect_shows_a_row_of_each_dataset(capsys: pytest.CaptureFixture[str]) -> None:
    rare = "{use: messages_jsonl, path: out/train.jsonl, provides: [audio, transcript, answer, speech], seconds: 30}"
    words = ["small.yaml", f"+data.rare={rare}", "+stages.understand.data.rare=0.001"]
    assert "2 rows of built, rare" in printed(capsys, "data", "inspect", *words, "--rows", "2")


def test_inspect_names_a_row_that_would_stop_training(works: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = json.loads((works / "out" / "train.jsonl").read_text().splitlines()[0])
    line["messages"][1]["content"][0]["text"] = " "
    line["messages"][1]["content"][1].pop("text")
    good = (works / "out" / "train.jsonl").read_text().splitlines()[1]
    (works / "out" / "bad.jsonl").write_text(f"{json.dumps(line)}\n{good}\n")
    assert main(["data", "inspect", "small.yaml", "data.built.path=out/bad.jsonl", "--rows", "2"]) == 2
    assert "has an empty answer, which gives no target" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(("words", "sentence"), [
    (["data"], "omnikit data: the following arguments are required: command; see omnikit data --help."),
    (["data", "bild"], "omnikit data: argument command: invalid choice: 'bild'"),
    (["data", "build", "spoken_instruction"], "builder 'spoken_instruction' is unknown. Did you mean 'spoken_instructions'?"),
    ([*BUILD, "out=x", "sead=1"], "spoken_instructions.sead is not a field of SpokenInstructions. Did you mean 'seed'?"),
    ([*BUILD, "out=x", "seed=one"], "spoken_instructions.seed is 'one', but must be a whole number."),
    ([*BUILD, "out=x", "speeds=[1]"], "spoken_instructions.speeds has 1 values, but must have 2."),
    ([*BUILD, "out=x", "noise_fraction=2"], "spoken_instructions: noise_fraction is 2.0, but a fraction is between 0 and 1."),
    ([*BUILD, "out=x", "voices=[en-us"], "voices is '[en-us', which is not a value:"),
    ([*BUILD], "spoken_instructions lacks out=FOLDER, where the dataset goes."),
    (["data", "build", "spoken_instructions", "out=x"], "spoken_instructions lacks source=VALUE; omnikit show builder/spoken_instructions describes it."),
    ([*BUILD, "x"], "'x' is not an option; write key=value, for example seed=1."),
    ([*BUILD, "out=x", "units=nowhere"], "nowhere is not a run:"),
    ([*BUILD, "out=x", "units=small.yaml"], "small.yaml is a recipe, but its speech.codec must be trained first;"),
    ([*BUILD, "out=."], "out is ., which exists and is not a dataset that was built; name a new folder."),
    (["data", "inspect", "small.yaml", "--stage", "speek"], "stage is speek, which is not a stage of small; stages with batches: understand, speak. Did you mean 'speak'?"),
    (["data", "inspect", "small.yaml", "--stage", "units"], "stage is units, which has objective units and no batches;"),
    (["data", "inspect", "small.yaml", "--html", "no/x.html"], "--html is no/x.html, which cannot be written: there is no folder no;"),
], ids=lambda words: " ".join(words[-2:]) if isinstance(words, list) else "")
def test_mistake_is_one_sentence(words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    out, shown = capsys.readouterr()
    assert shown.startswith(f"omnikit: {sentence}") and shown.count("\n") == 1 and not out
