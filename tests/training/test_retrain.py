"""Nothing finished is lost: what differs is named, and replaced only where it is asked for, once the new one is complete."""

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from doubles import FakeEncoder, make_plan, stages, write_tokenizer

from omnikit.errors import RunError
from omnikit.model import OmniModel
from omnikit.plan.plan import Plan
from omnikit.recipe.optim import Optim
from omnikit.store import run_manifest
from omnikit.store.locks import hold
from omnikit.store.runs import WEIGHTS
from omnikit.training.stage import run_stages


@dataclass(frozen=True)
class Given(FakeEncoder):
    weights: str | None = None


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def finished(tokenizer: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    (folder / "encoder.pt").write_text("content")
    run_stages(plan_of(tokenizer, folder), folder / "run", "one: 1\n")
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A folder with a finished run, whose encoder came from the file encoder.pt."""
    shutil.copytree(finished / "run", tmp_path / "run")
    return tmp_path


def plan_of(tokenizer: str, home: Path, *, seed: int = 0, **rates: float) -> Plan:
    only = {name: replace(stage, optim=Optim(lr=rates.get(name, 0.01))) for name, stage in stages(1).items()}
    return make_plan(tokenizer, encoder=Given(weights=str(home / "encoder.pt")), only=only, seed=seed)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def skipped(rows: list[object]) -> dict[str, bool]:
    return {row.stage: row.skipped for row in rows}  # type: ignore[attr-defined]  # of StageResult


def test_changed_setting_is_refused_with_both_values(tokenizer: str, finished: Path, folder: Path) -> None:
    before = content(folder)
    with pytest.raises(RunError) as caught:
        run_stages(plan_of(tokenizer, finished, understand=0.003), folder / "run", "two: 2\n")
    assert str(caught.value) == (
        f"Stage understand of {folder}/run was trained with stages.understand.optim.lr 0.01, which is 0.003 now; add --retrain"
        " understand to train it again, and what starts from it (speak), where the old weights stay until the new ones are"
        " complete, or choose another folder with run=PATH.")
    assert content(folder) == before


def test_what_all_stages_have_in_common_is_one_sentence(tokenizer: str, finished: Path, folder: Path) -> None:
    with pytest.raises(RunError, match=r"^Stages listen, units, understand, speak of \S+ were trained with seed 0, which is 7 "
                                       r"now; add --retrain listen --retrain units [^\n]*\.$"):
        run_stages(plan_of(tokenizer, finished, seed=7), folder / "run", "")


def test_retrained_stage_takes_along_what_starts_from_it(tokenizer: str, finished: Path, folder: Path) -> None:
    plan = plan_of(tokenizer, finished, understand=0.003)
    rows = run_stages(plan, folder / "run", "two: 2\n", retrain=["understand"])
    assert skipped(rows) == {"listen": True, "units": True, "understand": False, "speak": False}
    assert run_manifest.read(folder / "run").config == "two: 2\n"
    assert all(skipped(run_stages(plan, folder / "run", "two: 2\n")).values())


def test_unchanged_stage_is_trained_again_where_asked(tokenizer: str, finished: Path, folder: Path) -> None:
    rows = run_stages(plan_of(tokenizer, finished), folder / "run", "one: 1\n", retrain=["all"])
    assert not any(skipped(rows).values())


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError], ids=["interrupt", "bug"])
def test_old_weights_stay_until_the_new_ones_are_complete(
    tokenizer: str, finished: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    before, seen = content(folder / "run" / "understand"), []

    def fails(*arguments: object) -> None:
        seen.append(content(folder / "run" / "understand"))
        raise error

    monkeypatch.setattr(OmniModel, "tapped_losses", fails)
    with pytest.raises(error):
        run_stages(plan_of(tokenizer, finished, understand=0.003), folder / "run", "two: 2\n", retrain=["understand"])
    assert seen == [before] and content(folder / "run" / "understand") == before
    files = {"config.yaml", "manifest.json", "run.html"}
    assert {path.name for path in (folder / "run").iterdir()} == {*stages(), "tokenizer", *files}
    assert all(skipped(run_stages(plan_of(tokenizer, finished), folder / "run", "one: 1\n")).values())


def test_the_same_command_goes_on_after_an_interruption(
    tokenizer: str, finished: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, losses = plan_of(tokenizer, finished), OmniModel.tapped_losses

    def fails(self: OmniModel, batch: object, wanted: dict[str, float], *given: object) -> object:
        if "text" in wanted:
            raise KeyboardInterrupt
        return losses(self, batch, wanted, *given)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(OmniModel, "tapped_losses", fails)
        run_stages(plan, folder / "run", "one: 1\n", retrain=["all"])
    rows = run_stages(plan, folder / "run", "one: 1\n", retrain=["all"])
    assert skipped(rows) == {"listen": True, "units": True, "understand": False, "speak": False}
    assert not any(skipped(run_stages(plan, folder / "run", "one: 1\n", retrain=["all"])).values())


@pytest.mark.parametrize("age", [-1000, 1000])
def test_times_of_files_change_nothing(tokenizer: str, finished: Path, folder: Path, age: int) -> None:
    for path in (finished / "encoder.pt", *(folder / "run").rglob("*")):
        os.utime(path, (path.stat().st_mtime + age,) * 2)
    assert all(skipped(run_stages(plan_of(tokenizer, finished), folder / "run", "one: 1\n")).values())


def test_file_of_the_same_size_with_another_content_is_seen(tokenizer: str, finished: Path, folder: Path) -> None:
    plan = plan_of(tokenizer, finished)
    (finished / "encoder.pt").write_text("Content")
    try:
        with pytest.raises(RunError, match=r"Stage listen of \S+ was trained with the file \S+encoder\.pt with hash \w+"):
            run_stages(plan, folder / "run", "")
    finally:
        (finished / "encoder.pt").write_text("content")


def test_unknown_stage_is_named(tokenizer: str, finished: Path, folder: Path) -> None:
    sentence = (r"--retrain is 'understood', which is not a stage of doubles/tiny\. Did you mean 'understand'\? Stages: listen,"
                r" .*; all means each of them\.$")
    with pytest.raises(RunError, match=sentence):
        run_stages(plan_of(tokenizer, finished), folder / "run", "", retrain=["understood"])


def test_second_process_is_refused_and_may_wait(tokenizer: str, finished: Path, folder: Path) -> None:
    before = content(folder)
    with hold(folder / "run" / ".lock", "", ""), pytest.raises(
            RunError, match=r"run is being trained by process \d+ on \S+ since .*; wait for it with --wait, or choose another"):
        run_stages(plan_of(tokenizer, finished), folder / "run", "two: 2\n")
    assert content(folder) == before


def test_the_same_training_twice_gives_the_same_bytes(tokenizer: str, finished: Path, tmp_path: Path) -> None:
    run_stages(plan_of(tokenizer, finished), tmp_path / "again", "one: 1\n")
    for name in stages():
        assert (tmp_path / "again" / name / WEIGHTS).read_bytes() == (finished / "run" / name / WEIGHTS).read_bytes()


def test_files_of_a_run_can_be_read_by_others(finished: Path) -> None:
    before = os.umask(0)
    os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in (finished / "run").rglob("*") if path.is_file()} == {0o666 & ~before}
    assert {path.stat().st_mode & 0o777 for path in (finished / "run").rglob("*") if path.is_dir()} == {0o777 & ~before}
