"""Kills at random instants of a stage; tests/kill_and_resume.py does more of them."""


import pytest
from kill_and_resume import records


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    return records(tmp_path_factory.mktemp("kills"), 4, 1)


def test_killed_stages_end_as_the_undisturbed_one(trials: list[dict[str, object]]) -> None:
    assert [trial["equal"] for trial in trials] == [True] * 5, trials
    assert all(trial["again"] == 0 for trial in trials)


def test_signals_end_stages_with_their_code(trials: list[dict[str, object]]) -> None:
    assert all(trial["finished"] or trial["code"] == trial["expected"] for trial in trials), trials
