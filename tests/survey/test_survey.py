"""Recipes of published systems: each checks with its public sizes, and its small one trains, learns and answers."""

import csv
from pathlib import Path

import numpy as np
import pytest

import omnikit
from omnikit.paths import recipe_files

SYSTEMS = sorted({name.split("/")[1] for name in recipe_files() if name.startswith("survey/")})
STEPS, ROWS = 3, 8
EASIER = {"freeze_omni": ["stages.answer.data.noise=0"],  # a batch of noise alone has another loss than one of questions
          "bubogpt": ["stages.instruct.trainer.batch_size=32"]}  # images and audio in every batch, in near equal numbers


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """One folder for what is spoken and drawn, for all systems."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMNIKIT_CACHE", str(tmp_path_factory.mktemp("cache")))


def losses(folder: Path) -> dict[str, tuple[float, float]]:
    """Give the first and the last value of each loss of a stage."""
    with (folder / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["step"]]
    names = [name for name in rows[0] if name.startswith("loss.")]
    found = {name: [float(row[name]) for row in rows if row[name]] for name in names}
    return {name: (values[0], values[-1]) for name, values in found.items() if values}


@pytest.mark.parametrize("system", SYSTEMS)
def test_public_sizes_fit_together(system: str) -> None:
    plan = omnikit.check(f"survey/{system}/full")
    assert plan.stages


@pytest.mark.parametrize("system", SYSTEMS)
def test_small_sizes_train_learn_and_answer(system: str, tmp_path: Path) -> None:
    plan = omnikit.check(f"survey/{system}/tiny")
    overrides = [f"stages.{stage}.trainer.max_steps={STEPS}" for stage in plan.stages]
    overrides += [f"data.{name}.size={ROWS}" for name in plan.recipe.data]  # one batch, the same in each step
    overrides += EASIER.get(system, [])
    run = omnikit.train(f"survey/{system}/tiny", [f"run={tmp_path / 'run'}", *overrides])
    for name, stage in plan.stages.items():
        found, weights = losses(run.folder / name), stage.stage.loss
        first, last = (sum(weights[loss] * found[f"loss.{loss}"][end] for loss in weights if f"loss.{loss}" in found)
                       for end in range(2))
        assert last < first, name
    session = run.load()
    pixels = np.full((64, 64, 3), 200, dtype=np.uint8)
    noise = 0.1 * np.random.default_rng(0).standard_normal(16000).astype(np.float32)
    given = {"image": pixels} if "vision" in plan.inputs else {"audio": noise}
    answer = session.answer(text="how many are there", **given)
    assert isinstance(answer.text, str)
