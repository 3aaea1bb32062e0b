"""A `length` that does not count what `output` promises is refused before anything is built."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from doubles import FakeEncoder, make_plan, write_tokenizer

from omnikit.contracts.specs import FeatureSpec
from omnikit.plan.branches import InputBranch
from omnikit.plan.length_checks import check_lengths
from omnikit.plan.plan import make
from omnikit.recipe.compose import compose


@pytest.fixture
def branch(tmp_path: Path) -> InputBranch:
    return make_plan(write_tokenizer(tmp_path)).inputs["audio"]


def found(branch: InputBranch) -> list[str]:
    errors: list[str] = []
    check_lengths({"audio": branch}, errors)
    return errors


def test_what_counts_as_it_promises_passes(branch: InputBranch) -> None:
    assert not found(branch)


def test_a_constant_part_is_no_rate(branch: InputBranch) -> None:
    assert not found(replace(branch, encoder=FakeEncoder(extra_length=7)))


def test_an_encoder_of_another_rate_is_refused(branch: InputBranch) -> None:
    wrong = replace(branch, encoded=replace(branch.encoded, rate=Fraction(40)))
    assert found(wrong)[0] == ("audio.encoder gives 20 features a second by its `length`, but 40 by its `output`; fix either in"
                               " the plugin.")


def test_a_projector_of_another_rate_is_refused(branch: InputBranch) -> None:
    wrong = replace(branch, projected=replace(branch.projected, rate=Fraction(10)))
    assert found(wrong) == ["audio.projector gives 20 features a second by its `length`, but 10 by its `output`; fix either in"
                            " the plugin."]


def test_a_projector_of_another_count_is_refused(branch: InputBranch) -> None:
    wrong = replace(branch, projected=FeatureSpec(24, count=8))
    assert found(wrong) == ["audio.projector makes 100 features of 100 features by its `length`, but 8 of any number by its"
                            " `output`; fix either in the plugin."]


@pytest.mark.parametrize("recipe", ["llama_omni/full", "vita/full", "vita_1_5/full", "llama_omni/tiny", "vita_1_5/tiny"])
def test_shipped_recipes_count_as_they_promise(recipe: str) -> None:
    assert make(compose(recipe)).inputs
