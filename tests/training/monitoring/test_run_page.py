"""run.html and what is printed while a stage is trained: charts, lines without a terminal, estimates."""

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from doubles import make_plan, stages, write_tokenizer
from rich.console import Console

from omnikit.paths import recipe_files
from omnikit.plan.plan import Plan
from omnikit.progress import ProgressLines, duration, progress
from omnikit.recipe.compose import compose
from omnikit.training.monitoring import estimate as estimates
from omnikit.training.monitoring.charts import line_chart, short
from omnikit.training.monitoring.estimate import RecipeEstimate, StageTime, estimate
from omnikit.training.monitoring.run_page import page
from omnikit.training.stage import run_stages

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return make_plan(write_tokenizer(tmp_path_factory.mktemp("tokenizer")), only=stages(10))


def points(svg: str) -> list[list[tuple[float, float]]]:
    lines = ElementTree.fromstring(svg).findall(f"{SVG}polyline")
    return [[tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split()] for line in lines]  # type: ignore[misc]


def test_chart_draws_each_series_in_proportion() -> None:
    (rising, _falling) = points(line_chart({"a": [(0, 0.0), (50, 1.0), (100, 2.0)], "b": [(0, 2.0), (100, 0.0)]}, "t"))
    (x0, y0), (x1, y1), (x2, y2) = rising
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2) and y0 - y1 == pytest.approx(y1 - y2, abs=0.2) and y2 < y0


def test_wide_range_is_drawn_logarithmically() -> None:
    (line,) = points(line_chart({"a": [(1, 100.0), (2, 1.0), (3, 0.01)]}, "t"))
    assert line[1][1] - line[0][1] == pytest.approx(line[2][1] - line[1][1], abs=0.2)


def test_chart_without_a_finite_number_is_empty() -> None:
    assert line_chart({"a": [(1, float("nan"))]}, "t") == ""


def test_names_are_escaped() -> None:
    assert "a &lt; b" in line_chart({"a < b": [(1, 1.0), (2, 2.0)], "c": [(1, 1.0)]}, "t")


@pytest.mark.parametrize(("value", "text"), [(0.0, "0"), (0.0005, "5e-4"), (3.5, "3.5"), (12000, "12k"), (2.5e6, "2.5M")])
def test_numbers_of_axes_are_short(value: float, text: str) -> None:
    assert short(value) == text


def test_page_shows_the_curves_of_finished_stages_and_names_the_others(plan: Plan, tmp_path: Path,
                                                                       capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "runs" / "run"
    run_stages(plan, run, "one: 1\n")
    written = (run / "run.html").read_text()
    assert written.count("<polyline") >= 3 and "http" not in written.replace("http://www.w3.org/2000/svg", "")
    (run / "speak" / "done").unlink()
    assert "speak <span class=\"quiet\">not begun" in page(plan, run)
    printed = capsys.readouterr().out
    assert "doubles/tiny: 4 stages to train\n" in printed
    assert "understand (stage 3 of 4): 10 steps in " in printed


def test_lines_come_within_the_first_minute_and_then_each_minute(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    lines = ProgressLines(Console(), lambda: now[0])
    due = []
    for second in range(0, 200, 10):
        now[0] = float(second)
        if lines.is_due():
            due.append(second)
            lines.write(f"at {second}")
    assert due == [20, 80, 140] and capsys.readouterr().out == "at 20\nat 80\nat 140\n"


def test_quick_work_prints_no_line_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("reading") as report:
        report(0.5)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("seconds", "text"), [(8, "8 s"), (99, "99 s"), (720, "12 min"), (12000, "3 h 20 min"),
                                               (187200, "2 d 4 h")])
def test_times_are_written_as_a_person_would(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_time_left_is_that_of_the_reference_at_the_speed_here() -> None:
    known = RecipeEstimate({"a": 100, "b": 50, "c": None}, {"a": StageTime(100, 10.0), "b": StageTime(25, 20.0),
                                                             "c": StageTime(0, 5.0)})
    assert known.left() == (10.0 + 40.0 + 5.0, [])
    # a quarter of `a` took 5 s, so all of it takes 20 s, which is twice the reference
    assert known.left("a", elapsed=5.0, fraction=0.25) == (15.0 + 2 * (40.0 + 5.0), [])
    known.finish("a", 30.0)
    assert known.left("b", elapsed=0.0, fraction=0.0) == (3 * (40.0 + 5.0), [])


def test_stage_of_which_nothing_is_known_is_named() -> None:
    known = RecipeEstimate({"a": 100, "b": 50}, {"a": StageTime(100, 600.0)})
    assert known.sentence() == "about 10 min left in all, without b"
    assert RecipeEstimate({"a": 100, "b": 50}, {}).sentence() == ""


@pytest.mark.parametrize("path", [path.with_suffix(".times.json") for path in recipe_files().values()
                                  if path.with_suffix(".times.json").is_file()], ids=lambda path: path.parent.name)
def test_shipped_times_are_those_of_the_recipes_stages(path: Path) -> None:
    recipe = compose(f"{path.parent.name}/{path.name.partition('.')[0]}")
    times = json.loads(path.read_text())["stages"]
    assert set(times) == set(recipe.stages) and all(len(found) == 2 for found in times.values())


def test_last_stage_has_no_estimate_for_the_others() -> None:
    assert RecipeEstimate({"a": 100, "b": 50}, {}).sentence("b", 1.0, 0.5) == ""


def test_reference_is_an_earlier_run_of_the_recipe_or_what_is_shipped(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny.times.json").write_text('{"machine": "m", "stages": {"listen": [20, 8], "speak": [10, 99]}}')
    monkeypatch.setattr(estimates, "recipe_files", lambda: {"doubles/tiny": tmp_path / "tiny.yaml"})
    assert estimate(plan, tmp_path / "runs" / "new", list(plan.stages)).left() == (8.0 * 10 / 20 + 99, ["units", "understand"])
    run_stages(plan, tmp_path / "runs" / "old", "one: 1\n")
    found = estimate(plan, tmp_path / "runs" / "new", list(plan.stages))
    assert set(found.reference) == set(plan.stages) and found.reference["speak"].seconds < 99
