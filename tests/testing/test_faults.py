"""Each seeded fault is found by the check of its name, and a component without one passes all."""

from typing import Any

import pytest
from frames_plugin import config as plugin
from frames_plugin.heavy_config import HeavyFrames

from omnikit.testing import check_component
from omnikit.testing.results import CheckResult
from omnikit.testing.suite import Session

FAULTS: dict[str, tuple[Any, set[str]]] = {
    "states another hidden size": (plugin.WrongDim(), {"output_dim"}),
    "states another rate": (plugin.WrongRate(), {"output_rate"}),
    "counts vectors that it does not give": (plugin.WrongLength(), {"output_length"}),
    "states another count": (plugin.WrongCount(), {"output_count"}),
    "states too short a lookahead": (plugin.WrongLookahead(), {"lookahead"}),
    "states another number of parameters": (plugin.WrongFootprint(), {"footprint"}),
    "states other codes": (plugin.WrongCodes(), {"codebooks"}),
    "has no docstring": (plugin.Undocumented(), {"documented"}),
    "states no shapes": (plugin.FaultyFrames(variant="Bare"), {"shapes_documented"}),
    "has a field that YAML cannot hold": (plugin.NotYaml(), {"fields_from_yaml", "pickles"}),
    "cannot be pickled": (plugin.Unpicklable(), {"pickles", "deep_copy"}),
    "imports torch in its light module": (HeavyFrames(), {"light_module"}),
    "reads padding": (plugin.FaultyFrames(variant="Leaks"), {"padding"}),
    "draws random numbers in eval mode": (plugin.FaultyFrames(variant="Random"), {"deterministic"}),
    "moves a buffer while frozen": (plugin.FaultyFrames(variant="Moves"), {"frozen"}),
    "holds numbers beside its state dict": (plugin.FaultyFrames(variant="Forgets"), {"state_dict"}),
    "loses samples between chunks": (plugin.FaultyFrames(variant="DropsRest"), {"streamed"}),
    "fails under autocast": (plugin.FaultyFrames(variant="FloatOnly"), {"bfloat16", "float16"}),
    "overflows in float16": (plugin.FaultyFrames(variant="Halves"), {"float16"}),
    "reads numbers while it is built": (plugin.FaultyFrames(variant="ReadsNumbers"), {"meta_device"}),
    "has an idle parameter": (plugin.FaultyFrames(variant="Idle"), {"gradients", "footprint"}),
    "cuts a gradient": (plugin.FaultyFrames(variant="Detached"), {"gradients"}),
    "changes its input": (plugin.FaultyFrames(variant="InPlace"), {"input_unchanged"}),
    "joins what belongs to other media": (plugin.OtherMedia(), {"padding"}),
    "feeds other vectors than in training": (plugin.OtherFeedback(), {"feedback"}),
    "cannot be copied": (plugin.FaultyFrames(variant="Shared"), {"deep_copy"}),
}


def failed(results: list[CheckResult]) -> set[str]:
    return {result.check for result in results if result.status == "failed"}


@pytest.fixture(scope="module")
def session() -> Session:
    return Session([config for config, _ in FAULTS.values()])


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_found_by_name(session: Session, fault: str) -> None:
    assert failed(session.results(list(FAULTS).index(fault))) == FAULTS[fault][1]


@pytest.mark.parametrize("config", [plugin.Frames(), plugin.Coded()])
def test_what_has_no_fault_passes(config: Any) -> None:
    results = check_component(config)
    assert failed(results) == set()
    assert sum(result.status == "passed" for result in results) >= 10


def test_an_expected_failure_is_none_and_one_that_passes_is() -> None:
    results = check_component(plugin.WrongDim(), {"output_dim": "it is known", "documented": "it was once"})
    by_name = {result.check: result for result in results}
    assert (by_name["output_dim"].status, by_name["output_dim"].message) == ("expected failure", "it is known")
    assert failed(results) == {"documented"}
    assert "take documented out of the expected failures" in by_name["documented"].message
