"""Every component of the tree passes the checks that plugin authors run."""

import pytest
from components import EXPECTED_FAILURES, SMALL, config

from omnikit import registry
from omnikit.testing.suite import Session

NAMES = list(SMALL)


@pytest.fixture(scope="module")
def session() -> Session:
    return Session([config(name) for name in NAMES])


@pytest.mark.parametrize("index", range(len(NAMES)), ids=NAMES)
def test_component_passes_every_check(session: Session, index: int) -> None:
    results = session.results(index, EXPECTED_FAILURES.get(NAMES[index]))
    assert [f"{result.check}: {result.message}" for result in results if result.status == "failed"] == []


def test_every_component_is_here() -> None:
    kinds = ("encoder", "projector", "backbone", "head", "codec", "vad", "tts")
    known = {kind: set(registry.components(kind)) for kind in kinds}
    checked = {(component.kind, component.name) for component in Session([config(name) for name in NAMES]).components}
    assert {(kind, name) for kind, names in known.items() for name in names} == checked
