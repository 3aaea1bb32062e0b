# ruff: noqa: E501  # a refusal stands in one line
"""`check --deep` reads every row as training would, and names those that training would stop at."""

from dataclasses import replace
from pathlib import Path

import pytest
from doubles import EchoDataset, make_plan, write_tokenizer

from omnikit.errors import DataError
from omnikit.recipe.recipe import Stage
from omnikit.training.dry_run import DryRun, dry_run


def test_stage_that_trains_no_heads_is_read_but_not_run(tmp_path: Path) -> None:
    plan = make_plan(write_tokenizer(tmp_path))
    voice = Stage(objective="vocoder", loss={"stft": 1.0}, data={"echo": 1.0})  # its losses are no branches
    plan.stages["voice"] = replace(plan.stages["units"], name="voice", stage=voice)
    found = {one.stage: one for one in dry_run(plan)}
    assert found["voice"] == DryRun("voice", {"echo": 64}, reason="not run: objective vocoder")
    assert found["listen"].rows == {"echo": 64} and list(found["listen"].losses) == ["transcript"]


def test_stage_that_would_learn_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Stage listen: branch transcript would not be trained, because no row of dataset echo \(64"):
        dry_run(make_plan(write_tokenizer(tmp_path), echo=EchoDataset(textual=1)))
