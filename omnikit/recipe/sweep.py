"""The points of a sweep: `seed=0,1 audio/projector=linear,mlp` is four lists of overrides. Hydra reads the overrides."""

from collections.abc import Sequence
from functools import partial
from itertools import product

from hydra.core.override_parser.overrides_parser import OverridesParser

from omnikit.errors import ConfigError
from omnikit.recipe.compose import compose_tree
from omnikit.recipe.hydra_errors import translate_hydra_errors
from omnikit.recipe.validation import check_overrides

LAUNCHER = ("hydra/launcher=", "hydra.launcher.")


def points(recipe: str, overrides: Sequence[str]) -> list[list[str]]:
    """Give the overrides of each point: every combination of the values that overrides list or range over, the last ones first.

    Raises:
        ConfigError: an override cannot be read, or no value is swept over.
    """
    check_overrides(overrides)
    choices: list[list[str]] = []
    with translate_hydra_errors(recipe, overrides, partial(compose_tree, recipe)):
        for override in OverridesParser.create().parse_overrides(list(overrides)):
            if override.is_discrete_sweep():
                choices.append([f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()])
            elif override.is_sweep_override():
                raise ConfigError(f"override {override.input_line!r} names an interval, which has no points; list values, or"
                                  " search with --optuna FILE.")
            else:
                choices.append([str(override.input_line)])
    return [list(point) for point in product(*choices)]


def swept(overrides: Sequence[str]) -> list[str]:
    """Give the keys that overrides sweep over."""
    return [str(override.get_key_element()) for override in OverridesParser.create().parse_overrides(list(overrides))
            if override.is_sweep_override()]


def launcher(recipe: str, overrides: Sequence[str]) -> tuple[dict[str, object], list[str]]:
    """Give the settings of Hydra's launcher, `use` being its name, and the overrides without them.

    Raises:
        ConfigError: there is no such launcher, or it has no such setting.
    """
    own = [override for override in overrides if override.startswith(LAUNCHER)]
    rest = [override for override in overrides if override not in own]
    if not own:
        return {}, rest
    name = next((override.partition("=")[2] for override in own if override.startswith(LAUNCHER[0])), "basic")
    node = compose_tree(recipe, own, keep_hydra=True).hydra.launcher
    return {"use": name, **{str(key): value for key, value in node.items() if key != "_target_"}}, rest
