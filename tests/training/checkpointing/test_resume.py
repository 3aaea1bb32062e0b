"""A stage that was stopped goes on from its newest complete checkpoint, and ends as if it had never been stopped."""

import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from doubles import FakeEncoder, make_plan, stages, write_tokenizer
from stopping import Killed, crash, kill, outcome, send, stopping

from omnikit.errors import RunError
from omnikit.model import OmniModel
from omnikit.plan.plan import Plan
from omnikit.recipe.optim import Optim
from omnikit.store import training_checkpoint
from omnikit.training.monitoring.metrics import Metrics
from omnikit.training.stage import run_stages

STEPS = 12
NAMES = {"listen", "tokenizer", "config.yaml", "manifest.json", "run.html"}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def plan_of(tokenizer: str, **trainer: object) -> Plan:
    """Give one stage of batch norm and dropout."""
    stage = stages(STEPS)["listen"]
    changed = replace(stage.trainer, **{"save_every": 3, "log_every": 2, **trainer})
    return make_plan(tokenizer, encoder=FakeEncoder(dropout=0.2), only={"listen": replace(stage, trainer=changed)})


def stopped(plan: Plan, folder: Path, step: int) -> None:
    with stopping(step, kill), pytest.raises(Killed):
        run_stages(plan, folder, "")


@pytest.fixture(scope="module")
def undisturbed(tokenizer: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], list[str]]:
    folder = tmp_path_factory.mktemp("undisturbed")
    run_stages(plan_of(tokenizer), folder, "")
    return outcome(folder, "listen")


Outcome = tuple[dict[str, str], list[str]]


@pytest.mark.parametrize("step", [1, 3, 5, 11])
def test_resumed_stage_ends_as_the_undisturbed_one(tokenizer: str, tmp_path: Path, undisturbed: Outcome, step: int) -> None:
    plan = plan_of(tokenizer)
    stopped(plan, tmp_path, step)
    torch.rand(7)  # whatever else a program draws
    run_stages(plan, tmp_path, "")
    assert outcome(tmp_path, "listen") == undisturbed
    assert {path.name for path in tmp_path.iterdir()} == NAMES


def test_rows_that_are_cut_off_leave_the_file_a_header(tokenizer: str, tmp_path: Path) -> None:
    plan = plan_of(tokenizer, save_every=3, log_every=4)
    run_stages(plan, tmp_path / "whole", "")
    stopped(plan, tmp_path / "resumed", 5)
    run_stages(plan, tmp_path / "resumed", "")
    assert outcome(tmp_path / "resumed", "listen") == outcome(tmp_path / "whole", "listen")


def test_stage_may_stop_more_than_once(tokenizer: str, tmp_path: Path, undisturbed: Outcome) -> None:
    plan = plan_of(tokenizer)
    stopped(plan, tmp_path, 4)
    stopped(plan, tmp_path, 8)
    run_stages(plan, tmp_path, "")
    assert outcome(tmp_path, "listen") == undisturbed


def test_exception_saves_the_end_of_the_last_step(tokenizer: str, tmp_path: Path, undisturbed: Outcome,
                                                  caplog: pytest.LogCaptureFixture) -> None:
    plan = plan_of(tokenizer, save_every="1h")
    with stopping(5, crash), pytest.raises(RuntimeError, match="crash"):
        run_stages(plan, tmp_path, "")
    run_stages(plan, tmp_path, "")
    assert "resumes at step 5 of 12" in caplog.text and outcome(tmp_path, "listen") == undisturbed


def test_loss_that_fails_after_it_was_computed_changes_nothing(tokenizer: str, tmp_path: Path, undisturbed: Outcome,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    plan, add, calls = plan_of(tokenizer, save_every="1h"), Metrics.add, []

    def failing(self: Metrics, losses: dict[str, torch.Tensor], counts: dict[str, float]) -> None:
        calls.append(1)
        if len(calls) == 8:  # batch norm and dropout have run by then
            raise RuntimeError
        add(self, losses, counts)

    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr(Metrics, "add", failing)
        run_stages(plan, tmp_path, "")
    run_stages(plan, tmp_path, "")
    assert len(calls) == 8 and outcome(tmp_path, "listen") == undisturbed


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGUSR1, 75)])
def test_signal_saves_the_step_and_ends_with_a_code(
    tokenizer: str, tmp_path: Path, undisturbed: Outcome, caplog: pytest.LogCaptureFixture, number: signal.Signals, code: int
) -> None:
    plan, before = plan_of(tokenizer, save_every="1h"), signal.getsignal(number)
    with stopping(4, send(number)), pytest.raises(SystemExit) as raised:
        run_stages(plan, tmp_path, "")
    assert raised.value.code == code and signal.getsignal(number) == before
    run_stages(plan, tmp_path, "")
    assert "Stage listen resumes at step 5 of 12 (saved " in caplog.text and "; no steps after it are lost." in caplog.text
    assert outcome(tmp_path, "listen") == undisturbed


def test_ctrl_c_saves_the_step_and_interrupts(tokenizer: str, tmp_path: Path, undisturbed: Outcome) -> None:
    plan = plan_of(tokenizer, save_every="1h")
    with stopping(4, send(signal.SIGINT)), pytest.raises(KeyboardInterrupt):
        run_stages(plan, tmp_path, "")
    run_stages(plan, tmp_path, "")
    assert outcome(tmp_path, "listen") == undisturbed


def test_second_ctrl_c_does_not_wait(tokenizer: str, tmp_path: Path) -> None:
    def twice() -> None:
        send(signal.SIGINT)()
        send(signal.SIGINT)()

    with stopping(4, twice), pytest.raises(KeyboardInterrupt):
        run_stages(plan_of(tokenizer, save_every=2), tmp_path, "")
    found = training_checkpoint.newest(tmp_path / ".listen.partial")
    assert found is not None and found.step == 4


CHANGES = {
    "accumulate": {"accumulate": 3, "save_every": 1},
    "workers": {"workers": 2, "save_every": 2},
    "passes": {"max_steps": None, "max_epochs": 3, "batch_size": 10, "accumulate": 4, "save_every": 1},
    "by time": {"save_every": "0.001s"},
}


@pytest.mark.parametrize("step", [2, 5])
@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_batches_go_on_where_they_stopped(tokenizer: str, tmp_path: Path, changes: dict[str, object], step: int) -> None:
    plan = plan_of(tokenizer, **changes)
    run_stages(plan, tmp_path / "whole", "")
    stopped(plan, tmp_path / "resumed", step)
    run_stages(plan, tmp_path / "resumed", "")
    assert outcome(tmp_path / "resumed", "listen") == outcome(tmp_path / "whole", "listen")


def test_workers_change_nothing_of_a_resumed_stage(tokenizer: str, tmp_path: Path, undisturbed: Outcome) -> None:
    stopped(plan_of(tokenizer, workers=1), tmp_path, 5)
    run_stages(plan_of(tokenizer), tmp_path, "")
    assert outcome(tmp_path, "listen") == undisturbed


def test_damaged_checkpoint_is_passed_over(tokenizer: str, tmp_path: Path, undisturbed: Outcome,
                                           caplog: pytest.LogCaptureFixture) -> None:
    plan = plan_of(tokenizer)
    stopped(plan, tmp_path, 7)
    file = tmp_path / ".listen.partial" / "checkpoints" / "00000006" / "state.pt"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    run_stages(plan, tmp_path, "")
    assert "00000006 is damaged (state.pt has size and CRC-32" in caplog.text
    assert "resumes at step 3 of 12" in caplog.text and "; 4 steps after it are lost." in caplog.text
    assert outcome(tmp_path, "listen") == undisturbed


def test_half_written_checkpoint_is_ignored(tokenizer: str, tmp_path: Path, undisturbed: Outcome) -> None:
    plan = plan_of(tokenizer)
    stopped(plan, tmp_path, 4)
    half = tmp_path / ".listen.partial" / "checkpoints" / ".00000006.part"
    half.mkdir()
    (half / "state.pt").write_bytes(b"half")
    run_stages(plan, tmp_path, "")
    assert outcome(tmp_path, "listen") == undisturbed


def test_newest_checkpoints_stay(tokenizer: str, tmp_path: Path) -> None:
    stopped(plan_of(tokenizer, save_every=2), tmp_path, 9)
    assert sorted(path.name for path in (tmp_path / ".listen.partial" / "checkpoints").iterdir()) == ["00000006", "00000008"]


@pytest.mark.parametrize(("keep", "names"), [(0, []), (2, ["00000012"])])
def test_finished_stage_holds_its_end(tokenizer: str, tmp_path: Path, keep: int, names: list[str]) -> None:
    run_stages(plan_of(tokenizer, keep=keep), tmp_path, "")
    assert [path.name for path in (tmp_path / "listen").glob("checkpoints/*")] == names
    assert not (tmp_path / "listen" / "steps").exists()


def test_changed_settings_are_refused(tokenizer: str, tmp_path: Path) -> None:
    plan = plan_of(tokenizer)
    stopped(plan, tmp_path, 5)
    stage = replace(plan.recipe.stages["listen"], optim=Optim(lr=0.5))
    changed = make_plan(tokenizer, encoder=FakeEncoder(dropout=0.2), only={"listen": stage})
    sentence = (r"^Stage listen of .* stopped at step 3 of 12 with stages\.listen\.optim\.lr 0\.01, which is 0\.5 now.*; put it"
                r" back as it was to resume, or add --restart")
    with pytest.raises(RunError, match=sentence):
        run_stages(changed, tmp_path, "")
    run_stages(changed, tmp_path, "", restart=True)
    record = json.loads((tmp_path / "listen" / "manifest.json").read_text())
    assert record["resolved"]["stages"]["listen"]["optim"]["lr"] == 0.5 and record["steps"] == STEPS


def test_changed_data_is_refused(tokenizer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(tokenizer)
    stopped(plan, tmp_path, 5)
    monkeypatch.setattr("omnikit.store.manifest.data_fingerprint", lambda reader: "other")
    with pytest.raises(RunError, match=r"at step 3 of 12 with data\.echo with content of fingerprint \w+, which is other now"):
        run_stages(plan, tmp_path, "")


def test_restart_begins_from_scratch(tokenizer: str, tmp_path: Path, undisturbed: Outcome,
                                     caplog: pytest.LogCaptureFixture) -> None:
    plan = plan_of(tokenizer)
    stopped(plan, tmp_path, 5)
    run_stages(plan, tmp_path, "", restart=True)
    assert outcome(tmp_path, "listen") == undisturbed and "resumes" not in caplog.text


def test_loss_that_is_not_a_number_leaves_the_checkpoint_before_it(tokenizer: str, tmp_path: Path,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    losses = OmniModel.tapped_losses
    steps: list[int] = []

    def broken(self: OmniModel, *arguments: object) -> dict[str, torch.Tensor]:
        steps.append(1)
        return {name: loss * (float("nan") if len(steps) == 8 else 1.0) for name, loss in losses(self, *arguments).items()}

    monkeypatch.setattr(OmniModel, "tapped_losses", broken)
    with pytest.raises(RunError, match="Stage listen at step 8: loss transcript is nan, which is not a number; lower"):
        run_stages(plan_of(tokenizer, save_every="1h"), tmp_path, "")
    found = training_checkpoint.newest(tmp_path / ".listen.partial")
    assert found is not None and found.step == 7
    assert all(torch.isfinite(tensor.read()).all() for tensor in found.tensors().values())


def constant(plan: Plan, tokenizer: str, steps: int) -> Plan:
    stage = plan.recipe.stages["listen"]
    optim = Optim(lr=1e-2, warmup=0.0, schedule="constant")
    stage = replace(stage, optim=optim, trainer=replace(stage.trainer, max_steps=steps))
    return make_plan(tokenizer, encoder=FakeEncoder(dropout=0.2), only={"listen": stage})


def test_more_steps_continue_a_finished_stage(tokenizer: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    plan = plan_of(tokenizer)
    run_stages(constant(plan, tokenizer, 20), tmp_path / "whole", "")
    run_stages(constant(plan, tokenizer, 8), tmp_path / "longer", "")
    stopped(constant(plan, tokenizer, 20), tmp_path / "longer", 13)
    run_stages(constant(plan, tokenizer, 20), tmp_path / "longer", "")
    assert "Stage listen continues at step 8, where it ended" in caplog.text and "resumes at step 12 of 20" in caplog.text
    assert outcome(tmp_path / "longer", "listen") == outcome(tmp_path / "whole", "listen")


def test_finished_stage_without_its_end_is_not_continued(tokenizer: str, tmp_path: Path) -> None:
    plan = plan_of(tokenizer, keep=0)
    run_stages(constant(plan, tokenizer, 8), tmp_path, "")
    with pytest.raises(RunError, match=r"was trained with stages\.listen\.trainer\.max_steps 8, which is 20 now; add --ret"):
        run_stages(constant(plan, tokenizer, 20), tmp_path, "")


def test_fewer_steps_are_refused(tokenizer: str, tmp_path: Path) -> None:
    plan = plan_of(tokenizer)
    run_stages(constant(plan, tokenizer, 8), tmp_path, "")
    with pytest.raises(RunError, match=r"max_steps 8, which is 6 now; add --retrain listen"):
        run_stages(constant(plan, tokenizer, 6), tmp_path, "")
