"""Scoring rows that the recipe does not name, one dataset after another, with and without an ASR model."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import soxr
from doubles import EchoDataset, EchoReader, make_plan, write_tokenizer

from omnikit.commands.eval import data_words, table
from omnikit.data.media.audio import save_audio
from omnikit.errors import ConfigError, DataError, PlanError, RunError
from omnikit.evaluation import score as scoring
from omnikit.evaluation.datasets import datasets, rows
from omnikit.evaluation.score import Options, score
from omnikit.plan.plan import Plan
from omnikit.recipe.answers import Evaluate
from omnikit.store.locks import hold
from omnikit.training.stage import run_stages

RATE = 8000  # of files; the doubles take 100 Hz, which no recording has


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return make_plan(write_tokenizer(tmp_path_factory.mktemp("tokenizer")), steps=1)


@pytest.fixture(scope="module")
def trained(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "model"
    run_stages(plan, folder, "")
    return folder


@pytest.fixture
def run(trained: Path, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of its own whose recipe names an ASR model that nobody trained."""
    monkeypatch.chdir(tmp_path)
    evaluate = Evaluate({"echo": "echo"}, asr="asr/none")
    monkeypatch.setattr(scoring, "load_plan", lambda path: replace(plan, recipe=replace(plan.recipe, evaluate=evaluate)))
    return Path(shutil.copytree(trained, tmp_path / "model"))


@pytest.fixture
def own_rows(tmp_path: Path) -> Path:
    """Four spoken questions as messages in a file."""
    reader, lines = EchoReader(EchoDataset()), []
    for sample in (reader[0], reader[8], reader[16], reader[24]):
        messages = []
        for message in sample.messages:
            content: list[dict[str, Any]] = []
            for part in message.content:
                if part.audio is not None:
                    waveform = soxr.resample(part.audio, part.sample_rate, RATE)
                    save_audio(tmp_path / f"{sample.id}.wav", waveform.astype("float32"), RATE)
                    content.append({"type": "audio", "path": f"{sample.id}.wav", "text": part.text})
                else:
                    content.append({"type": "text", "text": part.text})
            messages.append({"role": message.role, "content": content})
        lines.append(json.dumps({"id": sample.id, "messages": messages, "facts": sample.facts}))
    file = tmp_path / "mine.jsonl"
    file.write_text("\n".join(lines) + "\n")
    return file


def scored(run: Path, *data: str, **options: Any) -> dict[str, Any]:
    return score(run, Options(data=data, latency_rows=0, **options))[1]


def test_datasets_scored_one_after_another_stay_with_their_conditions(run: Path, own_rows: Path) -> None:
    first = scored(run, "echo", limit=4)
    both = scored(run, str(own_rows), batch_size=3)
    assert list(both["scores"]) == ["echo", "mine"] and both["scores"]["mine"]["rows"] == 4
    assert both["scores"]["echo"] == first["scores"]["echo"]
    limits = {title: both["conditions"][found["conditions"]]["limit"] for title, found in both["scores"].items()}
    assert limits == {"echo": 4, "mine": None}
    page = (run / "eval" / "report.html").read_text()
    assert all(f'id="conditions-{name}"' in page and f'href="#conditions-{name}"' in page for name in both["conditions"])


def test_dataset_scored_again_is_replaced_in_its_place(run: Path, own_rows: Path) -> None:
    scored(run, "echo", limit=4)
    scored(run, str(own_rows))
    report = scored(run, "echo", limit=6)
    assert {title: found["rows"] for title, found in report["scores"].items()} == {"echo": 6, "mine": 4}
    assert list(report["scores"]) == ["echo", "mine"]


def test_scores_of_other_weights_leave_the_report(run: Path, own_rows: Path, monkeypatch: pytest.MonkeyPatch,
                                                  caplog: pytest.LogCaptureFixture) -> None:
    scored(run, "echo", limit=2)
    monkeypatch.setattr(scoring, "_weights", lambda session: "another")
    assert list(scored(run, str(own_rows))["scores"]) == ["mine"]
    assert "echo was scored with other weights, so it leaves the report" in caplog.text
    assert not (run / "eval" / "echo.jsonl").exists()


def test_same_answers_from_a_file_as_from_the_recipe_s_dataset(run: Path, own_rows: Path) -> None:
    report = scored(run, f"copy={own_rows}", "echo", limit=None)
    lines = {title: {row["id"]: row["answer"] for row in map(json.loads, (run / "eval" / f"{title}.jsonl").open())}
             for title in report["scores"]}
    assert lines["copy"].items() <= lines["echo"].items() and len(lines["copy"]) == 4


def test_asr_model_that_was_not_trained_leaves_the_text_metrics_and_is_stated(run: Path) -> None:
    report = scored(run, limit=4)
    found = report["scores"]["echo"]
    assert found["numbers"]["exact"] is not None and found["numbers"]["speech_wer"] is None
    assert found["untranscribed"] == "the recipe's ASR model asr/none was not trained"
    assert "The speech of echo was not transcribed, because the recipe's ASR model asr/none was not trained" in table(report)
    assert "asr/none was not trained, so its intelligibility is unknown" in (run / "eval" / "report.html").read_text()


def test_asr_model_that_is_named_must_be_there(run: Path) -> None:
    with pytest.raises(RunError, match="asr/other is not a run"):
        scored(run, asr="asr/other")


def test_second_process_is_refused(run: Path) -> None:
    (run / "eval").mkdir()
    with hold(run / "eval" / ".lock", "x", "y"), pytest.raises(RunError, match=r"eval is being written by .*wait for it"):
        scored(run, limit=2)


def test_conditions_of_another_version_are_replaced(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    (run / "eval").mkdir()
    (run / "eval" / "conditions.json").write_text('{"recipe": "old"}')
    assert list(scored(run, limit=2)["scores"]) == ["echo"]
    assert "conditions.json cannot be read by this version of omnikit, so earlier scores leave" in caplog.text


@pytest.mark.parametrize(
    ("words", "error", "text"),
    [(["ecco"], PlanError, r"has no evaluate\.data\.ecco\. Did you mean 'echo'\? Titles: echo\. A file of rows is named"),
     (["a.jsonl", "a=b.jsonl"], ConfigError, r"gives two datasets the title a; give one another: --data TITLE=FILE"),
     (["echo=b.jsonl"], ConfigError, "has the title echo, which is a dataset of evaluate.data; give it another"),
     (["latency.jsonl"], ConfigError, "has the title latency, which is what holds the timings"),
     (["x/y=b.jsonl"], ConfigError, "a title names a file of the report; give it one without slashes"),
     (["gone.jsonl"], DataError, r"gone\.jsonl does not exist, but should be a dataset")],
    ids=["title", "twice", "taken", "timings", "slash", "gone"],
)
def test_data_that_cannot_be_meant_is_refused(plan: Plan, words: list[str], error: type[Exception], text: str, own_rows: Path,
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        shutil.copy(own_rows, own_rows.with_name(name))
    monkeypatch.chdir(own_rows.parent)
    with pytest.raises(error, match=text):
        datasets(plan, words)


def test_file_is_titled_by_its_name_and_the_recipe_s_datasets_come_first(plan: Plan, own_rows: Path) -> None:
    assert list(datasets(plan, [str(own_rows), "echo", f"other={own_rows}"])) == ["echo", "mine", "other"]


def test_format_of_a_file_is_recognised(run: Path, own_rows: Path, plan: Plan) -> None:
    row = {"id": "x", "conversations": [{"from": "human", "value": "one two"}, {"from": "gpt", "value": "three"}]}
    other = own_rows.with_name("theirs.json")
    other.write_text(json.dumps([row]))
    [sample] = rows(plan, datasets(plan, [str(other)])["theirs"], None)
    assert sample.messages[-1].content[0].text == "three"
    assert scored(run, str(other))["scores"]["theirs"]["rows"] == 1


def test_row_that_cannot_be_scored_is_found_before_the_first_answer(plan: Plan, tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    (tmp_path / "x.png").touch()
    question = {"role": "user", "content": [{"type": "image", "path": "x.png"}]}
    answer = {"role": "assistant", "content": [{"type": "text", "text": "x"}]}
    file.write_text(json.dumps({"id": "q", "messages": [question, answer]}) + "\n")
    with pytest.raises(DataError, match=r"r\.jsonl: Row q holds image, but doubles/tiny takes audio, text; leave such"):
        rows(plan, datasets(plan, [str(file)])["r"], None)


def test_rows_without_an_answer_are_counted(plan: Plan, tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    question = {"role": "user", "content": [{"type": "text", "text": "x"}]}
    file.write_text("".join(json.dumps({"id": name, "messages": [question]}) + "\n" for name in "ab"))
    with pytest.raises(DataError, match=r"Row a has no answer, .*give it one\. \(2 of 2 rows cannot be scored\.\)"):
        rows(plan, datasets(plan, [str(file)])["r"], None)


def test_words_of_the_command_are_titles_or_files(tmp_path: Path) -> None:
    file = tmp_path / "a,b.jsonl"
    file.touch()
    assert data_words("images, videos") == ["images", "videos"] and data_words("t=x,y.jsonl") == ["t=x,y.jsonl"]
    assert data_words(str(file)) == [str(file)]
