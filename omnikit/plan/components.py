"""A recipe's components as dataclasses, each made of its own fields."""

from __future__ import annotations

from typing import Any

from omnikit import registry
from omnikit.contracts.configs import BackboneConfig
from omnikit.errors import OmnikitError
from omnikit.plan.resolve import without_random
from omnikit.recipe.branches import Choice
from omnikit.recipe.recipe import SLOTS, Recipe
from omnikit.recipe.schema import construct


class ComponentConfigs:
    """A recipe's components as dataclasses, by dotted path; what could not be made is absent and its reason in `errors`."""

    def __init__(self, recipe: Recipe, errors: list[str]) -> None:
        self._errors = errors
        self._made = {f"{branch}.{slot}": self._make(SLOTS[slot], choice, f"{branch}.{slot}")
                      for branch, slots in recipe.branches.items() for slot, choice in slots.items()}
        self.backbone: BackboneConfig | None = None
        if recipe.backbone:
            self.backbone = self._make("backbone", recipe.backbone, "backbone")

    def _make(self, kind: str, choice: Choice, where: str) -> Any:
        try:
            cls = registry.component(kind, choice.use)
            return construct(cls, without_random(cls, choice.fields), where, self._errors)
        except OmnikitError as error:
            self._errors.append(f"{where}: {error}")
            return None

    def get(self, path: str) -> Any:
        """Give the dataclass at a path such as audio.encoder, or None."""
        return self._made.get(path)
