"""Which voice activity detection a recipe gets, and what is refused under `live`."""

from pathlib import Path

import pytest
from omnikit_basics.energy import Energy
from omnikit_silero.config import Silero
from small_recipe import write_recipe

from omnikit import registry
from omnikit.errors import PlanError
from omnikit.plan.plan import make
from omnikit.plan.voice_activity import find_vad
from omnikit.recipe.compose import compose
from omnikit.recipe.dump import values
from omnikit.recipe.live import Live, TurnPolicy
from omnikit.recipe.recipe import Recipe, parse


def recipe(folder: Path, *overrides: str) -> Recipe:
    return compose(str(write_recipe(folder)), list(overrides))


def test_a_recipe_without_the_section_has_the_defaults(tmp_path: Path) -> None:
    assert recipe(tmp_path).live == Live(None, TurnPolicy())


def test_silero_is_the_default_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_vad(Live()) == Silero()
    installed = {name: found for name, found in registry.components("vad").items() if name != "silero"}
    monkeypatch.setattr(registry, "components", lambda kind: installed)
    assert find_vad(Live()) == Energy()


def test_a_recipe_names_another_with_its_fields(tmp_path: Path) -> None:
    found = recipe(tmp_path, "live.vad={use: energy, margin_db: 20}", "live.policy.min_silence_ms=300")
    assert find_vad(found.live) == Energy(margin_db=20.0)
    assert found.live.policy == TurnPolicy(min_silence_ms=300)


def test_a_dumped_recipe_has_the_same_section(tmp_path: Path) -> None:
    found = recipe(tmp_path, "live.vad={use: energy}", "live.policy.interrupt=decision")
    assert parse(values(found), found.name).live == found.live


def test_the_section_changes_no_fingerprint(tmp_path: Path) -> None:
    assert recipe(tmp_path, "live.policy.threshold=0.7").fingerprint() == recipe(tmp_path).fingerprint()


@pytest.mark.parametrize(("override", "message"), [
    ("live.vad={use: siler}", "live.vad: vad 'siler' is not installed. Did you mean 'silero'?"),
    ("live.vad={use: energy, margin: 3}", "live.vad.margin is not a field of Energy. Did you mean 'margin_db'?"),
    ("live.policy.threshold=2", "live.policy: threshold is 2, but must be between 0 and 1"),
    ("live.policy.interrupt=always", "live.policy.interrupt is 'always', but must be"),
    ("live.policy.speculative_ms=900", "live.policy: speculative_ms is 900, but must be at least 1 and below min_silence_ms"),
    ("live.policy.max_turn_ms=0", "live.policy: max_turn_ms is 0, but must be at least 1"),
    ("live.policy.min_speech_ms=-1", "live.policy: min_speech_ms is -1, but must be at least 0"),
])
def test_a_wrong_section_is_one_sentence(override: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(PlanError) as caught:
        make(recipe(tmp_path, override))
    assert len(caught.value.sentences) == 1 and str(caught.value).startswith(message)
