"""What may be trained side by side, and how long that takes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from doubles import make_plan, stages, write_tokenizer

from omnikit.errors import RunError
from omnikit.plan.plan import Plan
from omnikit.training.distributed import ALONE, World
from omnikit.training.jobs.schedule import check_jobs
from omnikit.training.monitoring.estimate import RecipeEstimate, StageTime, makespan

TIMES = {"read": 40.0, "listen": 50.0, "units": 10.0, "understand": 80.0, "voice": 60.0}
ORIGINS = {"understand": ("read", "listen"), "voice": ("units",)}


@pytest.mark.parametrize(("jobs", "expected"), [(1, 240.0), (2, 130.0), (3, 130.0)])
def test_makespan_is_that_of_stages_in_the_recipes_order(jobs: int, expected: float) -> None:
    # two jobs: read, then units to 50 and voice to 110, beside them listen to 50 and understand to 130
    assert makespan(TIMES, ORIGINS, jobs) == expected


def test_stages_side_by_side_announce_the_time_of_the_longest(capsys: pytest.CaptureFixture[str]) -> None:
    reference = {"read": StageTime(10, 40), "listen": StageTime(10, 50)}
    RecipeEstimate({"read": 10, "listen": 10}, reference, 2).announce("small")
    assert capsys.readouterr().out == "small: 2 stages to train; about 50 s left in all\n"


def test_finished_stage_states_what_is_left_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    estimate = RecipeEstimate({"read": 10, "listen": 10}, {"read": StageTime(10, 40), "listen": StageTime(10, 50)}, 2)
    estimate.finish("read", 80.0)  # twice as long as there
    estimate.report("read", {"listen": 80.0})
    assert capsys.readouterr().out == "read (stage 1 of 2): finished in 80 s; about 20 s left in all\n"


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return make_plan(write_tokenizer(tmp_path))


def test_no_job_is_refused(plan: Plan) -> None:
    with pytest.raises(RunError, match=r"^jobs is 0, but must be at least 1.$"):
        check_jobs(plan, plan.stages, 0, ALONE)


def test_jobs_of_several_processes_are_refused(plan: Plan) -> None:
    with pytest.raises(RunError, match="jobs is 2, but 4 processes were started; train stages one after another"):
        check_jobs(plan, plan.stages, 2, World(0, 4, 0))


def test_stage_on_several_devices_is_refused(tmp_path: Path) -> None:
    listen = stages(1)["listen"]
    plan = make_plan(write_tokenizer(tmp_path), only={"listen": replace(listen, trainer=replace(listen.trainer, devices=2))})
    with pytest.raises(RunError, match="jobs is 2, but stage listen is trained on several devices"):
        check_jobs(plan, plan.stages, 2, ALONE)


def test_more_jobs_than_devices_are_refused(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(RunError, match=r"^jobs is 3, but each has a device of its own and there are 2; set --jobs 2.$"):
        check_jobs(plan, plan.stages, 3, ALONE)
