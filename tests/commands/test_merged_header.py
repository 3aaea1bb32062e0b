"""A tokenizer that merges across the header of an answer: refused by every command that learns or checks, row by row."""

import json
import re
from pathlib import Path

import pytest
from families import CUTTING, MERGING, write

from omnikit.cli import main

RECIPE = """\
# @package _global_
# A language model alone, with a template that tokenises header and answer at once.
defaults:
  - /recipe
  - /backbone: llama_tiny_random
  - /text/head: lm
  - /data/rows: messages_jsonl
  - _self_
template: llama_omni
data: {rows: {path: rows.jsonl}}
backbone: {layers: 1, tokenizer: tokenizer.json}
stages:
  understand:
    train: {backbone: full}
    loss: {text: 1.0}
    data: {rows: 1.0}
    trainer: {max_steps: 1, batch_size: 2}
"""
COMMANDS = {"check": "check --deep text.yaml", "data check": "data check text.yaml", "train": "train text.yaml run=run",
            "packed": "train text.yaml run=run stages.understand.trainer.pack=512"}
MERGED = {"byte-level BPE": r"'\n' (id ", "sentencepiece BPE": r"'\n\nHe' (id ", "unigram": r"'\n\nHe' (id "}
CASES = [pytest.param(family, command, id=f"{family}, {name}") for family in MERGING for name, command in COMMANDS.items()]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    rows = [{"id": name, "messages": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": answer}]}
            for name, answer in (("first", "Hello"), ("second", "Hello there"))]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "text.yaml").write_text(RECIPE.replace("tokenizer.json", str(tmp_path / "tokenizer.json")))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("family", "command"), CASES)
def test_merged_header_is_refused_with_its_row_and_token(here: Path, capsys: pytest.CaptureFixture[str], family: str,
                                                         command: str) -> None:
    write(here, MERGING[family]())
    assert main(command.split()) != 0
    shown = " ".join("".join(capsys.readouterr()).split())
    assert re.search(f"Row (first|second): .* {re.escape(MERGED[family])}.* `pieces: false`", shown)
    assert not (here / "run").exists()


@pytest.mark.parametrize(("family", "command"), CASES)
def test_header_that_is_cut_off_is_accepted(here: Path, family: str, command: str) -> None:
    write(here, CUTTING[family]())
    assert main(command.split()) == 0


@pytest.mark.parametrize("family", MERGING)
def test_template_that_tokenises_answers_alone_takes_every_tokenizer(here: Path, family: str) -> None:
    write(here, MERGING[family]())
    assert main(["train", "text.yaml", "run=run", "template=llama_3"]) == 0


def test_report_counts_the_rows_by_their_kind(here: Path) -> None:
    write(here, MERGING["unigram"]())
    assert main(["data", "check", "text.yaml", "--report", "bad.json"]) == 1
    assert json.loads((here / "bad.json").read_text())["kinds"] == {"merged token": 2}


def test_only_rows_that_merge_are_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(here, MERGING["unigram"]())
    row = {"id": "other", "messages": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Me"}]}
    with (here / "rows.jsonl").open("a") as rows:
        rows.write(json.dumps(row) + "\n")
    assert main(["data", "check", "text.yaml"]) == 1
    shown = capsys.readouterr().out
    assert shown.startswith("rows: 3 rows, 2 bad\n") and "Row other" not in shown
