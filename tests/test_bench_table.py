"""The table of `make bench`: ratios are medians over rounds, and a limit within the spread asks for more rounds."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from bench_table import Measures, Ratio, table, write

LIMIT = Ratio("a / b", "a", "b", most=1.05)


def costs(*values: float) -> Callable[[], float]:
    """Give a way that costs these, one after another and again from the first."""
    calls = iter(values * 10)
    return lambda: next(calls)


def test_ratio_is_the_median_of_the_rounds() -> None:
    measure = Measures("x").ratio("a / b", [2.0, 3.0, 9.0, 2.0, 4.0], [2.0, 2.0, 2.0, 1.0, 4.0])
    assert (measure.value, measure.spread, measure.rounds) == (1.5, (1.0, 2.0), 5)


def test_clear_ratio_takes_the_rounds_asked_for() -> None:
    found = Measures("x").compare({"a": costs(1.0), "b": costs(1.0)}, LIMIT, rounds=3)
    assert found == {"a": [1.0] * 3, "b": [1.0] * 3}


def test_limit_within_the_spread_takes_three_times_as_many() -> None:
    measures = Measures("x")
    measures.compare({"a": costs(1.0, 1.2), "b": costs(1.0)}, LIMIT, rounds=3)
    assert measures.found[0].rounds == 9


@pytest.mark.parametrize(("limits", "missed"), [({"most": 1.9}, 1), ({"least": 2.1}, 1),
                                               ({"most": 2.0, "least": 2.0}, 0), ({}, 0)])
def test_limits_are_judged_at_the_end(limits: dict[str, float], missed: int) -> None:
    measures = Measures("x")
    measures.ratio("a / b", 4.0, 2.0, **limits)
    measures.number("rows", 7, "a second")
    assert (len(measures.missed()), len(measures.found)) == (missed, 2)


def test_table_and_file_hold_every_number(tmp_path: Path) -> None:
    measures = Measures("vision")
    measures.ratio("a / b", 4.0, 2.0, most=1.05)
    measures.number("images", 2500.4, "a second")
    write(tmp_path / "new" / "bench.json", measures.found, {"one": 1.0})
    written = json.loads((tmp_path / "new" / "bench.json").read_text())
    assert [(line["name"], line["value"], line["met"]) for line in written["measures"]] == [("a / b", 2.0, False),
                                                                                           ("images", 2500.4, True)]
    assert [line.split() for line in table(measures.found).splitlines()[1:]] == [
        ["vision"], ["a", "/", "b", "2", "x", "at", "most", "1.05", "MISSED"], ["images", "2500", "a", "second"]]
