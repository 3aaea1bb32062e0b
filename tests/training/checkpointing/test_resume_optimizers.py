"""A stage with another optimizer than AdamW resumes to the bit as well, its small moments included."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from doubles import FakeEncoder, make_plan, stages, write_tokenizer
from stopping import crash, outcome, stopping

from omnikit.plan.plan import Plan
from omnikit.training.stage import run_stages

Name = Literal["adamw_8bit", "adafactor"]


def plan_of(tokenizer: str, name: Name) -> Plan:
    """Give one stage, wide enough for 8-bit moments."""
    stage = stages(8)["listen"]
    stage = replace(stage, optim=replace(stage.optim, name=name), trainer=replace(stage.trainer, save_every=3, log_every=2))
    return make_plan(tokenizer, encoder=FakeEncoder(dim=128), only={"listen": stage})


@pytest.mark.parametrize("name", ["adamw_8bit", "adafactor"])
def test_resumed_stage_ends_as_the_undisturbed_one(tmp_path: Path, name: Name) -> None:
    plan = plan_of(write_tokenizer(tmp_path), name)
    run_stages(plan, tmp_path / "undisturbed", "")
    with stopping(5, crash), pytest.raises(RuntimeError):
        run_stages(plan, tmp_path / "stopped", "")
    run_stages(plan, tmp_path / "stopped", "")
    assert outcome(tmp_path / "stopped", "listen") == outcome(tmp_path / "undisturbed", "listen")
