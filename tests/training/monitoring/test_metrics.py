"""metrics.csv: means, tokens, norms and rates, and what goes to trackers; compared with numbers worked out by hand."""

import csv
import logging
import sys
import types
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from doubles import EchoDataset, make_plan, stages, write_tokenizer

from omnikit.contracts.types import Batch, Signal
from omnikit.errors import PlanError, RunError
from omnikit.plan.plan import Plan
from omnikit.recipe.optim import Optim
from omnikit.recipe.recipe import TrainerConfig, training_settings
from omnikit.training.monitoring.flops import flops_per_token, peak_flops
from omnikit.training.monitoring.metrics import VOLATILE, Columns, Metrics
from omnikit.training.monitoring.token_counts import TokenCounts, count_tokens
from omnikit.training.monitoring.trackers import SafeTracker, TrackedStage, check_trackers, trackers
from omnikit.training.stage import assemble, run_stages

COLUMNS = Columns(("audio.encoder", "backbone"), ("text", "audio"))


class Listed:
    """A tracker that keeps what it gets."""

    def __init__(self) -> None:
        self.found: list[tuple[int, Mapping[str, float]]] = []
        self.closed = 0

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        self.found.append((step, numbers))

    def close(self) -> None:
        self.closed += 1


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    only = stages(4)
    for name in ("listen", "understand", "speak"):
        run = TrainerConfig(max_steps=4, batch_size=8, log_every=2, logger=("tensorboard",) if name == "understand" else ())
        only[name].trainer, only[name].optim = run, Optim(lr=1e-2, warmup=0.0, parts={"backbone": {"lr": 1e-3}})
    only["listen"].optim = only["speak"].optim = Optim(lr=1e-2, warmup=0.0)
    return make_plan(write_tokenizer(tmp_path_factory.mktemp("tokenizer")), only=only, echo=EchoDataset(textual=4))


@pytest.fixture(scope="module")
def run(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "run"
    run_stages(plan, folder, "one: 1\n")
    return folder


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_rows_hold_what_was_counted_since_the_last_one(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path / "metrics.csv", ("text",), "understand", COLUMNS)
    metrics.add({"text": torch.tensor(1.0)})
    for _ in range(2):
        metrics.count(TokenCounts({"text": 6, "audio": 3}, 24))
    metrics.gradients({"audio.encoder": torch.tensor(3.0), "backbone": torch.tensor(4.0)})
    metrics.wait(0.5)
    metrics.write(2, 0.1, {"audio.encoder": 0.1, "backbone": 0.01})
    metrics.write(4, 0.1)
    first, second = rows(tmp_path / "metrics.csv")
    assert {name: first[name] for name in ("tokens.text", "tokens.audio", "padding", "data_seconds")} == {
        "tokens.text": "12", "tokens.audio": "6", "padding": "0.625", "data_seconds": "0.5"}
    assert (first["grad_norm"], first["grad_norm.backbone"], first["lr.backbone"]) == ("5", "4", "0.01")
    assert (second["loss.text"], second["grad_norm"], second["tokens.text"], second["data_seconds"]) == ("", "", "0", "0")


def test_utilisation_is_a_column_where_the_peak_is_known(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path / "metrics.csv", (), "read", replace(COLUMNS, flops_per_token=2.0, peak_flops=100.0))
    metrics.count(TokenCounts({"text": 50}, 50))
    metrics.write(1, 0.1)
    row, = rows(tmp_path / "metrics.csv")
    assert float(row["flops_utilisation"]) == pytest.approx(float(row["tokens_per_second"]) * 2.0 / 100.0, rel=1e-4)


def test_state_cuts_later_rows_and_resumes_the_sums(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    metrics = Metrics(path, ("text",), "read", COLUMNS)
    metrics.write(1, 0.1)
    metrics.add({"text": torch.tensor(4.0)})
    metrics.count(TokenCounts({"text": 7}, 7))
    state = metrics.state_dict()
    metrics.write(2, 0.1)
    resumed = Metrics(path, ("text",), "read", COLUMNS)
    resumed.load_state_dict(state)
    resumed.write(2, 0.1)
    assert [(row["step"], row["loss.text"], row["tokens.text"]) for row in rows(path)] == [("1", "", "0"), ("2", "4", "7")]


def test_state_of_a_longer_file_is_refused(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path / "metrics.csv", (), "read")
    with pytest.raises(RunError, match=r"has 0 bytes, but 9 were written before the checkpoint of step 3; begin the stage"):
        metrics.load_state_dict({"step": 3, "last": {}, "sums": {}, "counts": {}, "tokens": {}, "positions": 0, "seconds": 0,
                                 "size": 9})


def test_tokens_of_a_batch_are_counted_by_modality() -> None:
    batch = Batch(torch.zeros(2, 10, dtype=torch.int64), torch.tensor([10, 6]), torch.zeros(2, 1), torch.ones(2), {}, {},
                  {"audio": [3, 2]}, {}, {}, [])
    assert count_tokens(batch) == TokenCounts({"text": 11, "audio": 5}, 20)


def test_without_a_backbone_frames_count_and_padding_is_that_of_the_signals() -> None:
    signals = {"audio": Signal(torch.zeros(2, 100), torch.tensor([100, 50]))}
    batch = Batch(torch.zeros(0, 0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), torch.zeros(0), torch.zeros(0),
                  signals, {}, {"audio": [20, 10]}, {}, {}, [], sizes={"audio": [100, 50]})
    assert count_tokens(batch) == TokenCounts({"audio": 30}, 40)


def test_rates_of_parts_and_norms_are_in_the_rows_of_a_stage(run: Path) -> None:
    found = rows(run / "understand" / "metrics.csv")
    assert [row["step"] for row in found] == ["2", "4"]
    first = found[0]
    assert float(first["lr.audio.projector"]) == pytest.approx(10 * float(first["lr.backbone"]))
    assert float(first["grad_norm"]) ** 2 == pytest.approx(
        float(first["grad_norm.backbone"]) ** 2 + float(first["grad_norm.audio.projector"]) ** 2, rel=1e-4)


def test_tokens_of_two_steps_are_those_of_their_rows(run: Path, plan: Plan) -> None:
    first, second = rows(run / "understand" / "metrics.csv")
    assert 0 < float(first["padding"]) < 1 and int(first["tokens.audio"]) > 0
    assert int(second["tokens.text"]) >= 16 * 5  # two batches of 8 rows: four words of the template, and one of the answer


def test_columns_that_are_not_volatile_are_the_same_again(plan: Plan, run: Path, tmp_path: Path) -> None:
    run_stages(plan, tmp_path / "again", "one: 1\n")
    before, again = ([{name: value for name, value in row.items() if name not in VOLATILE}
                      for row in rows(folder / "speak" / "metrics.csv")] for folder in (run, tmp_path / "again"))
    assert before == again


def test_tensorboard_reads_what_the_csv_holds(run: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "understand" / "tensorboard"))
    events.Reload()
    for tag, column in (("loss/text", "loss.text"), ("grad_norm/audio.projector", "grad_norm.audio.projector")):
        expected = [(int(row["step"]), pytest.approx(float(row[column]), rel=1e-5))
                    for row in rows(run / "understand" / "metrics.csv")]
        assert [(event.step, event.value) for event in events.Scalars(tag)] == expected


def test_no_tracker_is_opened_where_the_list_is_empty(run: Path) -> None:
    assert not (run / "speak" / "tensorboard").exists()


def test_tracker_that_fails_is_left_out_and_training_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    calls: list[int] = []

    def failing(stage: TrackedStage, step: int) -> Listed:
        calls.append(step)
        raise ConnectionError("no route")

    tracker = SafeTracker("wandb", failing, TrackedStage("r", "s", {}, tmp_path))
    with caplog.at_level(logging.WARNING):
        tracker.log(1, {})
        tracker.log(2, {})
        tracker.close()
    assert calls == [1] and "wandb failed and gets no more numbers: ConnectionError: no route" in caplog.text


def test_wandb_is_offline_unless_its_mode_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, object]] = []
    opened = types.SimpleNamespace(log=lambda numbers, step: asked.append({"step": step, **numbers}), finish=lambda: None)
    fake = types.ModuleType("wandb")
    fake.init = lambda **settings: asked.append(settings) or opened  # type: ignore[attr-defined]  # a stand-in
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    tracker, = trackers(["wandb"], TrackedStage("system/tiny", "read", {"optim.lr": 1.0}, tmp_path))
    tracker.log(3, {"loss.text": 0.5})
    assert (asked[0]["mode"], asked[0]["name"], asked[1]) == ("offline", "system/tiny/read", {"step": 3, "loss.text": 0.5})


def test_tracker_that_is_not_installed_is_one_sentence(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omnikit.training.monitoring.trackers.find_spec", lambda name: None)
    with pytest.raises(RunError, match=r"^stages.understand.trainer.logger names tensorboard, which is not installed; install"):
        check_trackers(plan.stages.values())


def test_unknown_tracker_is_refused_by_the_plan(recipe: str) -> None:
    from omnikit.plan.plan import make
    from omnikit.recipe.compose import compose

    with pytest.raises(PlanError, match=r"logger names 'wandbs', but must be of tensorboard, wandb, .*Did you mean 'wandb'\?"):
        make(compose(recipe, ["stages.speak.trainer.logger=[wandbs]"]))


def test_trackers_decide_no_weights() -> None:
    one, other = stages()["listen"], stages()["listen"]
    other.trainer = replace(other.trainer, logger=("wandb",))
    assert training_settings(one) == training_settings(other)


@pytest.mark.parametrize(("device", "precision", "peak"), [
    ("NVIDIA A100-SXM4-80GB", "bf16-mixed", 312e12), ("NVIDIA L40S", "bf16-true", 362e12), ("NVIDIA L4", "bf16-mixed", 121e12),
    ("NVIDIA H100 80GB HBM3", "16-mixed", 989e12), ("NVIDIA A100-SXM4-80GB", "32-true", None),
    ("Some GPU", "bf16-mixed", None)])
def test_peak_is_that_of_the_data_sheet(device: str, precision: str, peak: float | None) -> None:
    assert peak_flops(device, precision) == peak


@pytest.mark.parametrize(("stage", "factor"), [("understand", 6), ("speak", 2), ("listen", 0)])
def test_flops_of_a_token_count_forward_and_backward(plan: Plan, run: Path, stage: str, factor: int) -> None:
    dim, vocabulary = 24, plan.backbone.vocabulary  # type: ignore[union-attr]  # the doubles have one
    weights = dim * 3 * dim + dim * vocabulary + 2 * dim * 4 * dim  # mix, output, feed; tables are looked up
    assert flops_per_token(assemble(plan, plan.stages[stage], run), plan.stages[stage]) == factor * weights
