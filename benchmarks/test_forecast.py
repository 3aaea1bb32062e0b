"""The forecast of every stage of the tiny recipes beside three steps of it, each in a process of its own."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from bench_table import Measures

from omnikit.plan.plan import make
from omnikit.recipe.compose import compose

LIMIT, ROWS = 0.15, 300  # rows of each training dataset: recordings are made in seconds
LINE = re.compile(r"  (\w+): .*\(([+-]\d+)%\)")


@pytest.mark.parametrize("recipe", ["llama_omni/tiny", *(pytest.param(name, marks=pytest.mark.slow)
                                                         for name in ("asr/tiny", "vita/tiny", "vita_1_5/tiny"))])
def test_forecast_is_near_the_measured_peak(measures: Measures, recipe: str) -> None:
    readers = make(compose(recipe)).readers
    small = [f"data.{name}.size={ROWS}" for name, reader in readers.items() if getattr(reader, "split", "") == "train"]
    command = [str(Path(sys.executable).with_name("omnikit")), "forecast", recipe, *small, "--measure"]
    printed = subprocess.check_output(command, text=True)
    errors = {stage: int(percent) / 100 for stage, percent in LINE.findall(printed)}
    assert errors
    for stage, error in errors.items():
        measures.number(f"{recipe}, {stage}: forecast of its memory, error", error, "x", most=LIMIT, least=-LIMIT)
