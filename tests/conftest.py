"""What every test may ask for."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from omnikit import registry


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


@pytest.fixture(autouse=True)
def no_hydra() -> Iterator[None]:
    """Hydra keeps one configuration for the whole process; no test hands its own to the next."""
    yield
    GlobalHydra.instance().clear()
