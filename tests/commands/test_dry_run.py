# ruff: noqa: E501  # a refusal stands in one line
"""`check --deep` reads every row as training would, and names those that training would stop at."""

from dataclasses import replace
from pathlib import Path

import pytest
from doubles import Echo, make_plan, write_tokenizer

from omnikit.commands.dry_run import look
from omnikit.errors import DataError
from omnikit.recipe.recipe import Stage


def test_stage_that_trains_no_heads_is_read_but_not_run(tmp_path: Path) -> None:
    plan = make_plan(write_tokenizer(tmp_path))
    voice = Stage(objective="vocoder", loss={"stft": 1.0}, data={"echo": 1.0})  # its losses are no branches
    plan.stages["voice"] = replace(plan.stages["units"], name="voice", stage=voice)
    shown = look(plan)
    assert "voice       64 of echo  (not run: objective vocoder)" in shown and "listen      64 of echo  transcript" in shown


def test_stage_that_would_learn_nothing_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Stage listen: branch transcript would learn nothing, because no row of dataset echo \(64"):
        look(make_plan(write_tokenizer(tmp_path), echo=Echo(textual=1)))
