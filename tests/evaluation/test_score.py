"""Scoring a run of doubles."""

import json
from pathlib import Path

import pytest
from doubles import Echo, EchoReader, make_plan, make_recogniser, write_tokenizer

from omnikit.commands.eval import table
from omnikit.data.collate import questions
from omnikit.evaluation import score as scoring
from omnikit.evaluation.score import Scored, rotated, score, spread, summary
from omnikit.training.runs import find
from omnikit.training.stage import run_stages
from omnikit.types import Answer, Message, Part, Sample


def row(question: str, answer: str = "yes") -> Sample:
    asked = Part("audio", text=question, path=f"{question}.wav")
    return Sample(question, (Message("user", (asked,)), Message("assistant", (Part("text", text=answer),))))


def test_rotated_audio_is_another_question_s_for_every_row() -> None:
    samples = [row("a"), row("a"), row("b"), row("b")]
    heard = [questions(sample)[0].text for sample in rotated(samples) if sample]
    assert heard == ["b", "b", "a", "a"]


def test_rotated_row_that_cannot_change_is_left_out() -> None:
    samples = [row("a"), row("a"), row("a"), row("b")]
    assert [sample is None for sample in rotated(samples)].count(True) == 2


def test_row_without_audio_is_not_rotated() -> None:
    text = Sample("t", (Message("user", (Part("text", text="hi"),)), Message("assistant", (Part("text", text="yes"),))))
    assert rotated([text, row("a"), row("b")])[0] is None


@pytest.mark.parametrize(("length", "limit", "expected"), [(4, None, [0, 1, 2, 3]), (4, 9, [0, 1, 2, 3]), (9, 3, [0, 3, 6])])
def test_limit_is_spread_over_the_rows(length: int, limit: int | None, expected: list[int]) -> None:
    assert spread(length, limit) == expected


def test_summary_counts_by_kind_and_control() -> None:
    def scored(kind: str, text: str, other: str) -> Scored:
        return Scored(Sample("x", (), {"kind": kind}), "yes", Answer(text), other)

    found = summary([scored("a", "yes", "no"), scored("a", "no", "yes"), scored("b", "yes", "no"), scored("b", "yes", "no")])
    assert (found["exact"], found["exact_with_other_audio"], found["speech_wer"]) == (0.75, 0.25, None)
    assert found["exact_by_kind"] == {"a": {"rows": 2, "exact": 0.5}, "b": {"rows": 2, "exact": 1.0}}


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("scored")
    tokenizer = write_tokenizer(folder)
    plans = {"model": make_plan(tokenizer, steps=300), "ear": make_recogniser(tokenizer, steps=150)}
    for name, plan in plans.items():
        run_stages(plan, folder / name, "")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "load_plan", lambda path: plans[find(path).name])  # doubles are no installed components
        return score(folder / "model", folder / "ear", limit=32, batch_size=7)


def test_trained_run_is_right_because_of_what_it_hears(numbers: dict[str, object]) -> None:
    found = numbers["scores"]["echo"]
    assert found["rows"] == 32
    assert found["exact"] > 0.9 and found["exact_with_other_audio"] == 0.0
    assert found["natural_wer"] < 0.05


def test_answers_and_numbers_are_kept(numbers: dict[str, object]) -> None:
    folder = Path(str(numbers["run"])) / "eval"
    lines = [json.loads(line) for line in (folder / "echo.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == [EchoReader(Echo())[2 * i].id for i in range(32)]
    assert json.loads((folder / "summary.json").read_text())["scores"] == numbers["scores"]
    assert sorted(path.name for path in folder.iterdir()) == ["echo.jsonl", "summary.json"]


def test_table_shows_the_recogniser_s_own_error_beside_the_speech_s(numbers: dict[str, object]) -> None:
    text = table(numbers)
    found = numbers["scores"]["echo"]
    assert f"{100 * found['speech_wer']:.1f} %" in text and f"{100 * found['natural_wer']:.1f} %" in text
