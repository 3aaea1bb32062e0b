"""The folder of a shipped recipe's run stays the same when components get new fields.

A recipe that is changed on purpose gets a new folder; write the stored fingerprints again with
`python tests/store/test_fingerprints.py`.
"""

import json
from dataclasses import field, make_dataclass
from pathlib import Path

import pytest

from omnikit.contracts.specs import LATER
from omnikit.paths import recipe_files
from omnikit.recipe import recipe as recipes
from omnikit.recipe.branches import Choice
from omnikit.recipe.compose import compose
from omnikit.recipe.recipe import Recipe

STORED = Path(__file__).with_name("fingerprints.json")


def found() -> dict[str, str]:
    return {name: compose(name).fingerprint() for name in recipe_files()}


def test_fingerprints_of_shipped_recipes_are_the_stored_ones() -> None:
    assert found() == json.loads(STORED.read_text())


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """A recipe whose encoder has two fields that came later."""
    made = make_dataclass("Made", [("dim", int, 4), ("later", int, field(default=1, metadata=LATER)),
                                   ("listed", tuple[int, ...], field(default_factory=tuple, metadata=LATER))])
    monkeypatch.setattr(recipes, "components", lambda kind: {"made": ()})
    monkeypatch.setattr(recipes, "component", lambda kind, use: made)
    return recipes.parse({"audio": {"encoder": {"use": "made", "dim": 4}}}, "small")


def with_fields(recipe: Recipe, **fields: object) -> str:
    changed = Choice("made", {"dim": 4, **fields})
    return recipes.replace(recipe, branches={"audio": {"encoder": changed}}).fingerprint()


@pytest.mark.parametrize("fields", [{"later": 1}, {"listed": []}, {"later": 1, "listed": ()}])
def test_later_fields_at_their_default_change_no_fingerprint(small: Recipe, fields: dict[str, object]) -> None:
    assert with_fields(small, **fields) == small.fingerprint()


@pytest.mark.parametrize("fields", [{"later": 2}, {"listed": [1]}, {"dim": 5}])
def test_other_values_change_the_fingerprint(small: Recipe, fields: dict[str, object]) -> None:
    assert with_fields(small, **fields) != small.fingerprint()


if __name__ == "__main__":
    STORED.write_text(json.dumps(found(), indent=1, sort_keys=True) + "\n")
