"""Runs below a folder: what is listed of each, and what may be removed."""

import json
from pathlib import Path

import pytest

from omnikit import cli
from omnikit.errors import RunError
from omnikit.store import run_manifest
from omnikit.store.clean import leftovers, remove
from omnikit.store.files import write_json
from omnikit.store.locks import hold, holder
from omnikit.store.run_list import list_runs, size
from omnikit.store.run_manifest import RunManifest
from omnikit.store.runs import link_latest

STAGES = ("read", "speak")


def write_run(folder: Path, *done: str, day: int = 1) -> Path:
    """Write a run of two stages, of which some are finished."""
    for hour, name in enumerate(done):
        (folder / name).mkdir(parents=True)
        (folder / name / "done").write_text("0123456789abcdef\n")
        record = {"facts": {}, "data": {}, "weights_before": {}, "weights_after": {}, "files": {}, "numbers": {name: 0.5},
                  "seconds": 60.0, "finished": f"2026-11-{day:02} 1{hour}:00:00+00:00"}
        write_json(folder / name / "manifest.json", record)
    folder.mkdir(parents=True, exist_ok=True)
    run_manifest.write(folder, RunManifest("a"), RunManifest("system/tiny", "seed: 0\n", STAGES))
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Three runs of one recipe: replaced, latest with a stage that was broken off, and one without a finished stage."""
    home = tmp_path / "runs" / "system" / "tiny"
    write_run(home / "old", *STAGES, day=1)
    write_run(home / "new", *STAGES, day=2)
    (home / "new" / ".speak.partial").mkdir()
    (home / "new" / ".speak.partial" / "state").write_text("12345")
    (home / "begun" / ".read.partial").mkdir(parents=True)
    link_latest(home / "new")
    return tmp_path / "runs"


def names(found: list[object]) -> set[str]:
    return {one.path.name for one in found}  # type: ignore[attr-defined]  # of Leftover


def test_run_is_listed_with_its_recipe_stages_and_last_numbers(runs: Path) -> None:
    run = next(one for one in list_runs(runs) if one.folder.name == "new")
    assert (run.recipe, run.done, run.stages, run.latest, run.is_complete) == ("system/tiny", STAGES, STAGES, True, True)
    assert (run.numbers, run.seconds, run.changed) == ({"speak": 0.5}, 120.0, "2026-11-02 11:00:00+00:00")


def test_newest_run_comes_first(runs: Path) -> None:
    assert [one.folder.name for one in list_runs(runs)][1:] == ["new", "old"]  # before them what was begun just now


def test_begun_run_is_listed_by_its_place(runs: Path) -> None:
    run = next(one for one in list_runs(runs) if one.folder.name == "begun")
    assert (run.recipe, run.done, run.partial) == ("system/tiny", (), ("read",))


def test_size_is_that_of_all_files(runs: Path) -> None:
    folder = runs / "system" / "tiny" / "new"
    assert size(folder) == sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_damaged_stage_counts_as_unfinished_with_its_reason(runs: Path) -> None:
    (runs / "system" / "tiny" / "old" / "speak" / "done").write_text("half")
    run = next(one for one in list_runs(runs) if one.folder.name == "old")
    assert run.done == ("read",) and "holds 'half', but must hold 16 hex digits" in run.problem


def test_run_that_is_being_trained_names_who_does(runs: Path) -> None:
    folder = runs / "system" / "tiny" / "new"
    with hold(folder / ".lock", "x", "y"):
        found = [one.training for one in list_runs(runs) if one.folder.name == "new"]
        assert found == [holder(folder / ".lock")] and str(found[0]).startswith("process ")
    assert holder(folder / ".lock") is None


def test_missing_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"nothing is not a folder, but runs lie in one; train first with omnikit train RECIPE"):
        list_runs(tmp_path / "nothing")


def test_leftovers_are_what_was_broken_off(runs: Path) -> None:
    assert names(leftovers(runs)) == {".speak.partial", "begun"}


def test_replaced_runs_are_removed_where_asked_for_and_the_latest_is_not(runs: Path) -> None:
    remove(leftovers(runs, superseded=True))
    assert sorted(path.name for path in (runs / "system" / "tiny").iterdir()) == ["latest", "new"]
    assert not (runs / "system" / "tiny" / "new" / ".speak.partial").exists()


def test_checkpoints_of_finished_stages_are_removed_where_asked_for(runs: Path) -> None:
    state = runs / "system" / "tiny" / "old" / "read" / "checkpoints"
    state.mkdir()
    assert [one.path for one in leftovers(runs, checkpoints=True) if one.path.name == "checkpoints"] == [state]
    assert not [one for one in leftovers(runs, checkpoints=True, superseded=True) if one.path == state]  # its run goes


def test_stopped_stage_is_listed_with_the_step_that_it_resumes_at(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for step in ("00000070", "00000140", ".00000210.part"):
        (runs / "system" / "tiny" / "new" / ".speak.partial" / "checkpoints" / step).mkdir(parents=True)
    assert cli.main(["runs", str(runs)]) == 0
    assert "2 of 2, speak stopped at step 140" in capsys.readouterr().out


def test_what_is_trained_is_left_alone(runs: Path) -> None:
    with hold(runs / "system" / "tiny" / "new" / ".lock", "x", "y"):
        assert names(leftovers(runs)) == {"begun"}


def test_latest_run_is_removed_when_it_is_named_and_its_link_goes_too(runs: Path) -> None:
    latest = runs / "system" / "tiny" / "latest"
    remove(leftovers(runs, [latest]))
    assert not latest.is_symlink() and sorted(path.name for path in latest.parent.iterdir()) == ["begun", "old"]


def test_named_folder_that_is_not_a_run_stays(runs: Path) -> None:
    with pytest.raises(RunError, match=r"system is not a run, so it is not removed"):
        leftovers(runs, [runs / "system"])


def test_caches_are_removed_where_asked_for(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNIKIT_CACHE", str(tmp_path / "cache"))
    for name in ("recordings", "features"):
        (tmp_path / "cache" / name).mkdir(parents=True)
    with hold(tmp_path / "cache" / "features" / ".lock", "x", "y"):
        assert names(leftovers(runs, caches=True)) == {".speak.partial", "begun", "recordings"}


def test_command_lists_runs_as_table_and_json(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["runs", str(runs)]) == 0
    assert "new (latest)  system/tiny  2 of 2, speak stopped  2026-11-02 11:00" in capsys.readouterr().out
    assert cli.main(["runs", str(runs), "--json"]) == 0
    assert {one["recipe"] for one in json.loads(capsys.readouterr().out)} == {"system/tiny"}


def test_dry_run_removes_nothing(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(runs.rglob("*"))
    assert cli.main(["runs", "clean", "--in", str(runs), "--superseded", "--dry-run"]) == 0
    assert "unfinished stage" in capsys.readouterr().out and sorted(runs.rglob("*")) == before


def test_without_a_terminal_it_asks_for_yes(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["runs", "clean", "--in", str(runs)]) == 2
    assert "there is no terminal to answer from; add --yes or --dry-run." in capsys.readouterr().err
    assert cli.main(["runs", "clean", "--in", str(runs), "--yes"]) == 0
    assert not list(runs.rglob(".*.partial"))
