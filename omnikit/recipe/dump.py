"""A recipe as YAML that composes to the same recipe: what a run keeps where the recipe was made in Python."""

from typing import Any

from omnikit.recipe.branches import Choice
from omnikit.recipe.media import MediaLimits
from omnikit.recipe.recipe import Recipe
from omnikit.recipe.schema import plain
from omnikit.recipe.yaml_text import dump_yaml


def dump(recipe: Recipe) -> str:
    """Give a recipe as YAML with every value that it holds."""
    return dump_yaml(values(recipe))


def values(recipe: Recipe) -> dict[str, Any]:
    """Give a recipe as the plain values that `parse` takes."""
    branches = {name: {slot: _chosen(choice) for slot, choice in slots.items()} | _options(recipe, name)
                for name, slots in recipe.branches.items()}
    return {
        **branches,
        "backbone": _chosen(recipe.backbone) if recipe.backbone else None,
        "template": recipe.template, "system": recipe.system,
        "data": {name: _chosen(choice) | _policy(recipe, name) for name, choice in recipe.data.items()},
        "stages": plain(recipe.stages), "generate": plain(recipe.generate), "evaluate": plain(recipe.evaluate),
        "live": plain(recipe.live), **_media(recipe), "seed": recipe.seed, "run": recipe.run, "stage": recipe.stage,
    }


def _options(recipe: Recipe, branch: str) -> dict[str, Any]:
    return plain(recipe.branch_options[branch]) if branch in recipe.branch_options else {}


def _media(recipe: Recipe) -> dict[str, Any]:
    return {} if recipe.media == MediaLimits() else {"media": plain(recipe.media)}


def _policy(recipe: Recipe, dataset: str) -> dict[str, Any]:
    return plain(recipe.row_policies[dataset]) if dataset in recipe.row_policies else {}


def _chosen(choice: Choice) -> dict[str, Any]:
    return {"use": choice.use, **plain(choice.fields)}
