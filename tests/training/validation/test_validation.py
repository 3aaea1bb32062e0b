"""Held-out rows: what a stage reaches on them, which weights it gives, when it ends; and that they change nothing else."""

import csv
import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from doubles import EchoDataset, EchoReader, FakeEncoder, make_plan, stages, write_tokenizer
from stopping import Killed, kill, outcome, send, stopping

from omnikit.data.batch.collate import Collator
from omnikit.errors import PlanError, RunError
from omnikit.inference.session import restore
from omnikit.model import OmniModel
from omnikit.plan.plan import Plan
from omnikit.plan.stage_plan import StagePlan
from omnikit.plan.validation_checks import check_validation
from omnikit.recipe.optim import Optim
from omnikit.recipe.recipe import Stage
from omnikit.recipe.validation_settings import EarlyStop, Validate
from omnikit.store import checkpoint
from omnikit.store.runs import WEIGHTS
from omnikit.taps import Taps
from omnikit.training.stage import run_stages
from omnikit.training.validation.history import ValidationHistory

STEPS = 12
HELD_OUT = EchoDataset(rows=21, first=100)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def plan_of(tokenizer: str, validate: Validate, **trainer: object) -> Plan:
    """Give a stage that trains a projector and a backbone on text, with dropout in the encoder."""
    stage = stages(STEPS)["understand"]
    changed = replace(stage.trainer, **{"save_every": 3, "log_every": 2, **trainer})
    stage = replace(stage, trainer=changed, validate=validate, train={"audio": "full", "backbone": "full"})
    plan = make_plan(tokenizer, encoder=FakeEncoder(dropout=0.2), only={"understand": stage})
    return replace(plan, readers={**plan.readers, "held_out": HELD_OUT, "other": EchoDataset(rows=5, first=300)})


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "understand" / "validation.csv").open() as file:
        return list(csv.DictReader(file))


def test_validation_changes_nothing_of_training(tokenizer: str, tmp_path: Path) -> None:
    run_stages(plan_of(tokenizer, Validate()), tmp_path / "without", "")
    run_stages(plan_of(tokenizer, Validate({"held_out": 1.0}, every=2, metrics=("accuracy",))), tmp_path / "with", "")
    assert outcome(tmp_path / "with", "understand") == outcome(tmp_path / "without", "understand")
    assert [int(row["step"]) for row in table(tmp_path / "with")] == [2, 4, 6, 8, 10, 12]


def test_numbers_are_those_of_all_rows_in_one_batch(tokenizer: str, tmp_path: Path) -> None:
    plan = plan_of(tokenizer, Validate({"held_out": 1.0}, every=STEPS, metrics=("accuracy",)))
    [result] = run_stages(plan, tmp_path, "")
    model, reader = restore(plan, tmp_path).model.eval(), EchoReader(HELD_OUT)
    batch = Collator(plan, ["text"])([reader[index] for index in range(len(reader))])
    taps = Taps(model, batch)
    with torch.no_grad():
        logits = taps.features(plan.outputs["text"]).data.flatten(0, 1)
    ids = batch.targets["text"].ids.flatten()
    loss, right = F.cross_entropy(logits, ids, ignore_index=-100), (logits.argmax(-1) == ids)[ids != -100].float().mean()
    [row] = table(tmp_path)
    assert list(row) == ["step", "loss.text", "accuracy.text", "loss.total", "seconds"]
    assert float(row["loss.text"]) == pytest.approx(float(loss), rel=1e-4)
    assert float(row["accuracy.text"]) == pytest.approx(float(right), rel=1e-5)
    assert result.numbers["held-out text"] == pytest.approx(float(loss), rel=1e-4)


def test_several_datasets_are_weighed(tokenizer: str, tmp_path: Path) -> None:
    run_stages(plan_of(tokenizer, Validate({"held_out": 3.0, "other": 1.0}, every=6)), tmp_path, "")
    for row in table(tmp_path):
        mean = 0.75 * float(row["loss.text.held_out"]) + 0.25 * float(row["loss.text.other"])
        assert float(row["loss.text"]) == pytest.approx(mean, rel=1e-4)


def test_first_rows_are_enough_where_that_is_asked_for(tokenizer: str, tmp_path: Path,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    get = EchoReader.__getitem__

    def noted(self: EchoReader, index: int) -> object:
        read.extend([index] * (self.config == HELD_OUT))
        return get(self, index)

    monkeypatch.setattr(EchoReader, "__getitem__", noted)
    run_stages(plan_of(tokenizer, Validate({"held_out": 1.0}, every=STEPS, rows=4)), tmp_path, "")
    assert read == [0, 1, 2, 0, 1, 2, 3]  # the first ones before training begins


def scripted(monkeypatch: pytest.MonkeyPatch, losses: list[float]) -> None:
    """Let validations give these losses, by their step in twos."""
    def measure(self: object, trainer: object, module: object) -> dict[str, dict[str, float]]:
        return {"held_out": {"loss.text": losses[module.step // 2 - 1]}}

    monkeypatch.setattr("omnikit.training.validation.held_out.HeldOut.measure", measure)


def test_best_weights_are_given_and_the_last_are_there(tokenizer: str, tmp_path: Path,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    run_stages(plan_of(tokenizer, Validate(), max_steps=4), tmp_path / "four", "")
    constant = Optim(lr=1e-2, warmup=0.0, schedule="constant")
    scripted(monkeypatch, [3.0, 1.0, 2.0, 2.0, 2.0, 2.0])
    for steps, name, keep in ((4, "short", None), (STEPS, "best", "text"), (STEPS, "last", None)):
        plan = plan_of(tokenizer, Validate({"held_out": 1.0}, every=2, keep_best=keep), max_steps=steps)
        plan.stages["understand"].stage.optim = constant
        run_stages(plan, tmp_path / name, "")
    found = {name: checkpoint.hashes(tmp_path / name / "understand" / WEIGHTS)[0] for name in ("short", "best", "last")}
    assert found["best"] == found["short"] != found["last"]
    record = json.loads((tmp_path / "best" / "understand" / "manifest.json").read_text())
    assert record["numbers"]["best step"] == 4.0
    last = [(tmp_path / name / "understand" / "checkpoints" / "00000012" / WEIGHTS).read_bytes() for name in ("best", "last")]
    assert last[0] == last[1]


def test_stage_ends_when_the_loss_falls_no_more(tokenizer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, [3.0, 2.0, 1.95, 2.5, 0.0, 0.0])
    settings = Validate({"held_out": 1.0}, every=2, early_stop=EarlyStop(patience=2, min_delta=0.1))
    [row] = run_stages(plan_of(tokenizer, settings), tmp_path, "")
    assert row.steps == 8 and len(table(tmp_path)) == 4


CASES = {"plain": Validate({"held_out": 1.0}, every=2), "best": Validate({"held_out": 1.0}, every=2, keep_best="text"),
         "early": Validate({"held_out": 1.0}, every=2, early_stop=EarlyStop(patience=2, min_delta=10.0))}


@pytest.mark.parametrize("validate", CASES.values(), ids=CASES)
def test_killed_stage_validates_as_the_undisturbed_one(tokenizer: str, tmp_path: Path, validate: Validate) -> None:
    plan = plan_of(tokenizer, validate)
    run_stages(plan, tmp_path / "whole", "")
    with stopping(4, kill), pytest.raises(Killed):
        run_stages(plan, tmp_path / "resumed", "")
    run_stages(plan, tmp_path / "resumed", "")
    assert outcome(tmp_path / "resumed", "understand") == outcome(tmp_path / "whole", "understand")
    whole, resumed = ([{**row, "seconds": ""} for row in table(tmp_path / name)] for name in ("whole", "resumed"))
    assert resumed == whole


def test_step_that_a_signal_stopped_is_validated_later(tokenizer: str, tmp_path: Path) -> None:
    plan = plan_of(tokenizer, CASES["best"])
    run_stages(plan, tmp_path / "whole", "")
    with stopping(3, send(signal.SIGTERM)), pytest.raises(SystemExit):
        run_stages(plan, tmp_path / "resumed", "")
    assert len((tmp_path / "resumed" / ".understand.partial" / "validation.csv").read_text().splitlines()) == 2
    run_stages(plan, tmp_path / "resumed", "")
    assert outcome(tmp_path / "resumed", "understand") == outcome(tmp_path / "whole", "understand")
    assert [row["loss.text"] for row in table(tmp_path / "resumed")] == [row["loss.text"] for row in table(tmp_path / "whole")]


def test_kill_behind_the_last_step_trains_no_more(tokenizer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(tokenizer, CASES["early"])
    run_stages(plan, tmp_path / "whole", "")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr("omnikit.store.manifest.write", lambda *_: kill())
        run_stages(plan, tmp_path / "resumed", "")
    monkeypatch.setattr(OmniModel, "tapped_losses", lambda *_: pytest.fail("it trains on"))
    run_stages(plan, tmp_path / "resumed", "")
    assert outcome(tmp_path / "resumed", "understand") == outcome(tmp_path / "whole", "understand")


def test_loss_that_no_held_out_row_has_is_refused(tmp_path: Path) -> None:
    history = ValidationHistory(tmp_path / "validation.csv", Validate({"held_out": 1.0}, keep_best="speech"), {"speech": 1.0})
    with pytest.raises(RunError, match=r"The validation of step 5 gives nan for loss.speech; look at the rows of held_out"):
        history.add(5, {"held_out": {"loss.text": 1.0}}, 0.0)


def sentences(stage: Stage, tokenizer: str) -> str:
    plan = make_plan(tokenizer)
    errors: list[str] = []
    check_validation("stages.s", StagePlan("s", stage, (), (), {}, ()), plan.outputs, errors)
    return str(PlanError(*errors))


@pytest.mark.parametrize(("validate", "sentence"), [
    (Validate(every=5), "stages.s.validate.data is empty; name a dataset of held-out rows"),
    (Validate({"a": -1.0}), "stages.s.validate.data.a is -1, but a weight must be above 0"),
    (Validate({"a": 1.0}, every=0), "stages.s.validate.every is 0, but must be at least 1."),
    (Validate({"a": 1.0}, rows=0), "stages.s.validate.rows is 0, but must be at least 1."),
    (Validate({"a": 1.0}, early_stop=EarlyStop(0)), "stages.s.validate.early_stop.patience is 0, but must be at least 1."),
    (Validate({"a": 1.0}, early_stop=EarlyStop(1, -1.0)), "early_stop.min_delta is -1, but must be at least 0."),
    (Validate({"a": 1.0}, keep_best="txt"), "keep_best is 'txt', which is not a loss of the stage. Did you mean 'text'?"),
    (Validate({"a": 1.0}, metrics=("wer",)), "metrics has 'wer', which is not a metric. Metrics: accuracy; answers are"),
], ids=["no data", "weight", "every", "rows", "patience", "min_delta", "keep_best", "metrics"])
def test_mistakes_are_named(tokenizer: str, validate: Validate, sentence: str) -> None:
    assert sentence in sentences(Stage(loss={"text": 1.0}, validate=validate), tokenizer)


def test_what_cannot_be_measured_is_refused(tokenizer: str) -> None:
    validate = Validate({"a": 1.0}, metrics=("accuracy",))
    assert "has objective vocoder, and validation" in sentences(Stage(objective="vocoder", validate=validate), tokenizer)
    stage = Stage(loss={"transcript": 1.0}, validate=validate)
    assert "none of the stage's losses (transcript) is one of tokens with logits" in sentences(stage, tokenizer)
