"""What every test may ask for."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from small_recipe import write_recipe

from omnikit import registry
from omnikit.recipe.compose import compose_tree


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose packages count as installed (see small.publish), until the test ends."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)
    registry.forget()
    yield folder
    for name in set(sys.modules) - before:
        if name.startswith("made_up"):
            del sys.modules[name]
    monkeypatch.undo()
    registry.forget()


@pytest.fixture(scope="module")
def fitting(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The small recipe, as Hydra gives it."""
    values = OmegaConf.to_container(compose_tree(str(write_recipe(tmp_path_factory.mktemp("recipe")))))
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    """The path of the small recipe."""
    return str(write_recipe(tmp_path))


@pytest.fixture(autouse=True)
def no_hydra() -> Iterator[None]:
    """Hydra keeps one configuration for the whole process; no test hands its own to the next."""
    yield
    GlobalHydra.instance().clear()
