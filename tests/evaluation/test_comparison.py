"""Runs compared by saved answers: paired differences, rows in common, conditions, the page and the command."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from omnikit.commands.compare import run as command
from omnikit.commands.compare import table
from omnikit.errors import ConfigError, RunError
from omnikit.evaluation.comparison import RunsComparison, compare_runs, open_runs
from omnikit.evaluation.comparison_page import as_html, as_json, labels
from omnikit.evaluation.conditions import ConditionsFile
from omnikit.evaluation.records import Record, Timing
from omnikit.evaluation.run_differences import run_differences
from omnikit.store.diff import open_side

NOW: dict[str, Any] = {
    "date": "2026-01-02 03:04 UTC", "recipe": "some/recipe", "run": "abc", "weights": "w", "seed": 0,
    "decoding": {"temperature": 0.0, "max_new_tokens": 9}, "asr": None, "limit": None, "hardware": {"machine": "m", "cores": 2},
    "versions": {"torch": "1"}}
TEXTS = [f"number {word}" for word in ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")]


def rows(right: Sequence[int], **fields: Any) -> list[Record]:
    """Ten rows of which those with these indices are answered exactly."""
    return [Record(f"r{i}", text, text if i in right else "number none", (f"say {i} <b>",), **fields)
            for i, text in enumerate(TEXTS)]


def saved(folder: Path, data: Mapping[str, list[Record]], **changes: object) -> str:
    folder.mkdir(parents=True)
    file = ConditionsFile(folder, {**NOW, **changes})
    for title, records in data.items():
        file.finish(title, {"dataset": title, "fingerprint": f"of {title}"}, records)
    file.write_timings({"data": "a"}, [Timing("r0", None, 0.1, None, 0.2, 0.0)])
    return str(folder)


@pytest.fixture
def two(tmp_path: Path) -> RunsComparison:
    return compare_runs(open_runs([
        saved(tmp_path / "seed0", {"spoken": rows(range(6))}),
        saved(tmp_path / "seed1", {"spoken": rows(range(2, 10)), "other": rows([])}, weights="v", limit=10)]))


def test_difference_is_that_of_the_same_rows(two: RunsComparison) -> None:
    [found] = two.datasets
    exact = next(line for line in found.lines if line.metric == "exact")
    assert [value and value.value for value in exact.values] == [0.6, 0.8]
    assert exact.differences[0] is None and exact.differences[1] is not None
    assert exact.differences[1].value == pytest.approx(0.2) and exact.differences[1].count == 10
    wer = next(line for line in found.lines if line.metric == "text_wer")
    assert wer.differences[1] is not None and wer.differences[1].value == pytest.approx((2 - 4) / 20)


def test_answers_that_one_run_alone_has_right_are_counted_and_shown(two: RunsComparison) -> None:
    [found] = two.datasets
    counts = found.exact[1]
    assert counts is not None and (counts.both, counts.only_first, counts.only_other, counts.neither) == (4, 2, 4, 0)
    assert [row[0].id for row in found.examples] == ["r0", "r1", "r6", "r7", "r8", "r9"]


def test_conditions_that_differ_are_listed_without_date_and_weights(two: RunsComparison) -> None:
    assert two.conditions == {"limit": (None, 10)}


def test_only_rows_that_all_runs_answered_count(tmp_path: Path) -> None:
    names = [saved(tmp_path / "x", {"a": rows(range(10))}), saved(tmp_path / "y", {"a": rows(range(5))[:4]})]
    [found] = compare_runs(open_runs(names)).datasets
    assert (found.rows, found.left_out) == (4, 6)
    assert found.lines[0].values[1] is not None and found.lines[0].values[1].value == 1.0


def test_other_data_under_one_title_is_not_compared(tmp_path: Path) -> None:
    names = [saved(tmp_path / "x", {"a": rows([1])}), saved(tmp_path / "y", {"a": rows([1])})]
    ConditionsFile(tmp_path / "y", NOW).finish("a", {"dataset": "a", "fingerprint": "another"}, rows([1]))
    found = compare_runs(open_runs(names))
    assert found.datasets[0].note == "the runs were scored on other data under this title" and not found.datasets[0].lines
    assert "a: not compared, because the runs were scored on other data" in table(found, {})


def test_run_without_speech_is_compared_with_one_with_it(tmp_path: Path) -> None:
    spoken = [replace(row, speech_transcript=row.answer, seconds=1.0) for row in rows([1])]
    found = compare_runs(open_runs([saved(tmp_path / "x", {"a": rows([1])}), saved(tmp_path / "y", {"a": spoken})]))
    line = next(line for line in found.datasets[0].lines if line.metric == "speech_wer")
    assert line.values[0] is None and line.values[1] is not None and line.differences == (None, None)


def test_run_that_was_not_scored_on_a_dataset_has_no_numbers_there(tmp_path: Path) -> None:
    data = {"a": rows([1]), "b": rows([1, 2])}
    names = [saved(tmp_path / "x", {"a": data["a"]}), saved(tmp_path / "y", data), saved(tmp_path / "z", data)]
    found = compare_runs(open_runs(names))
    assert [one.there for one in found.datasets] == [(0, 1, 2), (1, 2)]
    assert found.datasets[1].lines[0].values[0] is None
    assert "<td>–" in as_html(found, {})


@pytest.mark.parametrize(
    ("names", "titles", "text"),
    [(["x"], (), "compare takes at least two runs"), (["x", "x"], (), "are the same run; name two"),
     (["x", "y"], ("spokn",), r"No run was scored on spokn\. Did you mean 'spoken'\? Titles: spoken, b\."),
     (["x", "y"], (), "were not scored on the same data; score them with omnikit eval RUN --data TITLE")],
    ids=["one", "same", "title", "nothing"],
)
def test_comparison_that_cannot_be_meant_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str],
                                                    titles: tuple[str, ...], text: str) -> None:
    saved(tmp_path / "x", {"spoken": rows([1])})
    saved(tmp_path / "y", {"b": rows([1])})
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=text):
        compare_runs(open_runs(names), titles)


def test_run_that_was_not_scored_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run" / "read").mkdir(parents=True)
    (tmp_path / "run" / "read" / "config.yaml").touch()
    with pytest.raises(RunError, match=r"run was not scored, so it cannot be compared; score it with omnikit eval"):
        open_runs([str(tmp_path / "run"), str(tmp_path / "run")])


@pytest.mark.parametrize(("given", "short"), [
    (("runs/seed0", "runs/seed1"), ["seed0", "seed1"]), (("a/b/eval_x", "a/c/eval_x"), ["b", "c"]),
    (("a/b", "a/b/c"), ["a/b", "a/b/c"]), (("a" * 30, "b" * 30), ["A", "B"])], ids=["runs", "stages", "inside", "long"])
def test_names_are_what_runs_do_not_have_in_common(two: RunsComparison, given: tuple[str, str], short: list[str]) -> None:
    assert labels([replace(run, label=name) for run, name in zip(two.runs, given, strict=True)]) == short


def test_page_requests_nothing_and_escapes_answers(two: RunsComparison) -> None:
    page = as_html(two, {"seed": (0, 1)})
    assert "say 0 &lt;b&gt;" in page and "<td>seed</td><td>0</td><td>1</td>" in page and "+20.0<br><small>[" in page
    assert "number none" in page and "(6 rows" not in page and "10 rows" in page
    assert not re.search(r"<script|<link|src=|url\(\s*['\"]?http|@import", page)


def test_json_holds_values_and_differences(two: RunsComparison) -> None:
    found = json.loads(json.dumps(as_json(two, {"seed": (0, 1)})))
    exact = found["datasets"][0]["metrics"]["exact"]
    assert [value["value"] for value in exact["values"]] == [0.6, 0.8] and exact["differences"][0] is None
    assert found["made_of"] == {"seed": [0, 1]} and found["datasets"][0]["examples"][:2] == ["r0", "r1"]


def test_command_prints_tables_and_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [saved(tmp_path / name, {"a": rows(right)}) for name, right in (("x", [1]), ("y", [1, 2]))]
    assert command([*names, "--html", str(tmp_path / "c.html")]) == 0
    text = capsys.readouterr().out
    assert re.search(r"exact +10\.0.% +20\.0.% +\+10\.0 \[", text) and "Exact in x alone 0, in y alone 1." in text
    assert "evaluated otherwise: nothing differs" in text and (tmp_path / "c.html").is_file()


def test_manifests_of_several_runs_are_set_beside_each_other() -> None:
    first, second = open_side("llama_omni/tiny"), open_side("llama_omni/tiny", ["seed=1"])
    third = open_side("llama_omni/tiny", ["stages.read.optim.lr=0.001"])
    assert run_differences([first, second, third]) == {"seed": (0, 1, 0), "stages.read.optim.lr": (0.002, 0.002, 0.001)}
