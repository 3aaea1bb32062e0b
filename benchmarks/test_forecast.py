"""The forecast of every stage of the tiny recipes beside three steps of it, each in a process of its own."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from omnikit.plan.plan import make
from omnikit.recipe.compose import compose

LIMIT, ROWS = 0.15, 300  # rows of each training dataset: recordings are made in seconds
LINE = re.compile(r"  (\w+): .*\(([+-]\d+)%\)")


@pytest.mark.parametrize("recipe", ["asr/tiny", "llama_omni/tiny", "vita/tiny", "vita_1_5/tiny"])
def test_forecast_is_near_the_measured_peak(benchmark: BenchmarkFixture, recipe: str) -> None:
    readers = make(compose(recipe)).readers
    small = [f"data.{name}.size={ROWS}" for name, reader in readers.items() if getattr(reader, "split", "") == "train"]
    command = [str(Path(sys.executable).with_name("omnikit")), "forecast", recipe, *small, "--measure"]
    printed = benchmark.pedantic(subprocess.check_output, args=(command,), kwargs={"text": True}, rounds=1)
    errors = {stage: int(percent) / 100 for stage, percent in LINE.findall(printed)}
    benchmark.extra_info.update(errors)
    assert errors and max(map(abs, errors.values())) <= LIMIT, errors
