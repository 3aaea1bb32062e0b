"""A run trained again from its record: equal to the bit, or what differs is named."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from doubles import EchoDataset, make_plan, stages, write_tokenizer

from omnikit import cli
from omnikit.errors import RunError
from omnikit.plan.plan import Plan
from omnikit.store.stage_record import NAME
from omnikit.training import replay as replays
from omnikit.training.replay import circumstances, replay, stages_to_replay
from omnikit.training.stage import run_stages

Edit = Callable[[Path], None]


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return make_plan(write_tokenizer(tmp_path_factory.mktemp("tokenizer")), only=stages(2))


@pytest.fixture(scope="module")
def trained(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "run"
    run_stages(plan, folder, "one: 1\n")
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


def edit_record(folder: Path, **values: object) -> None:
    found = json.loads((folder / NAME).read_text())
    (folder / NAME).write_text(json.dumps({**found, **values}))


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_replay_of_all_stages_is_equal_to_the_bit(plan: Plan, run: Path, tmp_path: Path) -> None:
    before = content(run)
    found = list(replay(plan, run, list(plan.stages), tmp_path / "out"))
    assert [(one.stage, one.is_equal) for one in found] == [(name, True) for name in plan.stages]
    assert next(one for one in found if one.stage == "speak").rows == 1 and content(run) == before


def test_one_stage_starts_from_the_weights_of_the_run(plan: Plan, run: Path, tmp_path: Path) -> None:
    found, = replay(plan, run, ["understand"], tmp_path / "out")
    assert found.is_equal and (tmp_path / "out" / "listen").is_symlink() and not (tmp_path / "out" / "speak").exists()


def test_first_number_that_differs_is_named(plan: Plan, run: Path, tmp_path: Path) -> None:
    metrics = run / "listen" / "metrics.csv"
    head, row, *_ = metrics.read_text().splitlines()
    step, lr, loss, *rest = row.split(",")
    metrics.write_text("\n".join([head, ",".join([step, lr, "7", *rest])]) + "\n")
    found, = replay(plan, run, ["listen"], tmp_path / "out")
    assert found.loss == f"loss.transcript at step 2: {loss}, was 7" and not found.weights


def test_parts_with_other_weights_are_named(plan: Plan, run: Path, tmp_path: Path) -> None:
    edit_record(run / "listen", weights_after={"audio.encoder": "0", "transcript.head": "0"})
    found, = replay(plan, run, ["listen"], tmp_path / "out")
    assert found.weights == ("audio.encoder", "transcript.head") and not found.loss


def test_folder_that_holds_something_is_refused(plan: Plan, run: Path) -> None:
    with pytest.raises(RunError, match=r"run holds something already, but a replay needs a folder of its own; name another"):
        list(replay(plan, run, ["listen"], run))


def test_nothing_differs_on_the_machine_that_trained(plan: Plan, run: Path) -> None:
    found = [circumstances(plan, run, name) for name in plan.stages]
    assert not any(one.inputs or one.machine for one in found)


def test_other_data_is_an_input_that_differs(plan: Plan, run: Path) -> None:
    other = make_plan(str(plan.tokenizer), only=stages(2), echo=EchoDataset(first=1))
    listed = [difference.place for difference in circumstances(other, run, "listen").inputs]
    assert listed == ["data.echo.first", "data.echo with content of fingerprint"]


def test_other_weights_before_a_stage_are_an_input_that_differs(plan: Plan, run: Path) -> None:
    edit_record(run / "understand", weights_before={})
    assert [difference.stage for difference in circumstances(plan, run, "understand").inputs] == ["listen"]


def test_other_versions_and_hardware_are_of_the_machine(plan: Plan, run: Path) -> None:
    record = json.loads((run / "listen" / NAME).read_text())
    versions, hardware = {**record["versions"], "torch": "1"}, {**record["hardware"], "machine": "z80"}
    edit_record(run / "listen", versions=versions, hardware=hardware)
    found = circumstances(plan, run, "listen")
    assert [difference.place for difference in found.machine] == ["versions.torch", "hardware.machine"]
    assert not found.inputs


def test_stage_that_is_not_finished_is_one_sentence(plan: Plan, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replays, "load_plan", lambda folder: plan)
    (run / "speak" / "done").unlink()
    with pytest.raises(RunError, match=r"--stage is 'speak', which is not a finished stage of .*run\. Finished: listen, un"):
        stages_to_replay(run, "speak")


def test_command_lists_what_differs_and_ends_with_1(
    plan: Plan, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(replays, "load_plan", lambda folder: make_plan(str(plan.tokenizer), only=stages(2), seed=1))
    assert cli.main(["replay", str(run)]) == 1
    printed = capsys.readouterr().out
    assert "seed          0     1    listen, units, understand, speak\n" in printed
    assert printed.endswith("What it was made of is not the same, so it was not trained again.\n")


def test_command_prints_what_came_out_equal(
    plan: Plan, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(replays, "load_plan", lambda folder: plan)
    assert cli.main(["replay", str(run), "--stage", "listen"]) == 0
    assert capsys.readouterr().out.endswith("  listen  1 rows equal  equal\n")
