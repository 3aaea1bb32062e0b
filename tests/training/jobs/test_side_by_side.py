"""Stages side by side, each job a process of its own: the same weights, stopped and resumed, and one of them killed."""

import os
import re
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from doubles import make_plan, stages, write_tokenizer
from gated import STEP, GatedEncoder
from stopping import outcome

from omnikit.errors import RunError
from omnikit.plan.plan import Plan
from omnikit.recipe.recipe import Stage
from omnikit.store import manifest, run_manifest, training_checkpoint
from omnikit.store.runs import finished_hash
from omnikit.store.stage_folder import partial_folder
from omnikit.training.stage import run_stages

STEPS = 8
NAMES = ("left", "right", "joined")


def plan_of(folder: Path, tokenizer: str) -> Plan:
    """Give two stages from random weights, and one that takes a part of each."""
    listen = stages(STEPS)["listen"]
    joined = Stage(train={"transcript": "full"}, loss={"transcript": 1.0}, data={"echo": 1.0}, trainer=listen.trainer,
                   init_from={"audio": "left", "transcript": "right"})
    return make_plan(tokenizer, encoder=GatedEncoder(dropout=0.1, folder=str(folder)), only={
        "left": listen, "right": replace(listen, init_from={}), "joined": joined})


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def sigterm_when_both_wait(gate: Path) -> None:
    """Send SIGTERM once two stages wait in the same step; let them go on when it was passed on."""
    while len(list(gate.glob("*.waits"))) < 2:
        time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(1.0)
    (gate / "open").touch()


Stopped = tuple[Plan, Path, dict[str, int], int]


@pytest.fixture(scope="module")
def stopped(tokenizer: str, tmp_path_factory: pytest.TempPathFactory) -> Stopped:
    """Give a plan, a run of it that SIGTERM stopped and that was resumed, the steps where it stopped, the exit code."""
    gate, run = tmp_path_factory.mktemp("gate"), tmp_path_factory.mktemp("run")
    (gate / "waits").touch()
    plan = plan_of(gate, tokenizer)
    threading.Thread(target=sigterm_when_both_wait, args=(gate,), daemon=True).start()
    with pytest.raises(SystemExit) as ended:
        run_stages(plan, run, "", jobs=2)
    found = {name: training_checkpoint.newest(partial_folder(run, name), complete=False) for name in NAMES}
    run_stages(plan, run, "", jobs=2)
    return plan, run, {name: checkpoint.step for name, checkpoint in found.items() if checkpoint}, int(ended.value.code or 0)


def test_sigterm_saves_every_stage(stopped: Stopped) -> None:
    assert stopped[2:] == ({"left": STEP, "right": STEP}, 143)


def test_resumed_run_is_finished(stopped: Stopped) -> None:
    plan, run, *_ = stopped
    assert tuple(run_manifest.read(run).stages) == NAMES
    assert [row.skipped for row in run_stages(plan, run, "", jobs=2)] == [True, True, True]


def test_weights_and_losses_are_those_of_one_job(stopped: Stopped, tmp_path: Path) -> None:
    plan, run, *_ = stopped
    run_stages(plan, tmp_path, "")
    assert [outcome(tmp_path, name) for name in NAMES] == [outcome(run, name) for name in NAMES]


def test_record_is_that_of_one_job(stopped: Stopped) -> None:
    record = manifest.read(stopped[1], "joined")
    assert record["command"] != [] and "worker" not in record["command"][0]
    assert record["origins"] == {"audio.encoder": "left", "transcript.head": "right"}


def test_killed_stage_is_named_and_the_other_one_is_finished(tokenizer: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    (tmp_path / "kills").touch()
    with pytest.raises(RunError) as found:
        run_stages(plan_of(tmp_path, tokenizer), run, "", jobs=2)
    named = re.fullmatch(r"Stage (left|right) failed: its process ended with SIGKILL; the same command resumes it.",
                         str(found.value))
    assert named and [name for name in NAMES if finished_hash(run, name)] == [{"left": "right", "right": "left"}[named[1]]]
