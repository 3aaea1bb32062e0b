"""Hydra composes a recipe here; what leaves this file is a Recipe made of dataclasses.

Slash picks, dot sets: `audio/encoder=mel_cnn audio.projector.stride=2`.
"""

import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra import main as hydra_main
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, flag_override
from omegaconf.errors import OmegaConfBaseException

from omnikit.errors import ConfigError, OmnikitError
from omnikit.recipe.config_source import locate, register
from omnikit.recipe.folder_fields import folder_values
from omnikit.recipe.hydra_errors import translate_hydra_errors
from omnikit.recipe.quoting import quoted
from omnikit.recipe.recipe import Recipe, parse
from omnikit.recipe.run_recipe import is_run_config, recorded_name
from omnikit.recipe.schema import plain
from omnikit.recipe.validation import check_overrides
from omnikit.recipe.yaml_text import dump_yaml

_NO_OUTPUT = ("hydra.run.dir=.", "hydra.output_subdir=null", "hydra.sweep.subdir=.", "hydra/job_logging=none")


def compose(recipe: str, overrides: Sequence[str] = ()) -> Recipe:
    """Compose a recipe and check its keys.

    Args:
        recipe: a name such as `llama_omni/tiny`, the path of a YAML file, or a run's folder for the recipe it was made of.
        overrides: as on the command line, `audio/encoder=mel_cnn`, `stages.speak.optim.lr=1e-4`.

    Raises:
        OmnikitError: the recipe, a component, a key or a value is unknown or wrong; as many errors at once as can be found.
    """
    recipe, overrides = resume_overrides(recipe, overrides)
    tree = compose_tree(recipe, overrides, keep_hydra=True)
    with flag_override(tree, ["struct", "readonly"], False):
        choices = tree.pop("hydra").runtime.choices  # without a copy of the tree, which takes longer than all else here
    return from_hydra(tree, recipe, _picks(choices), overrides)


def compose_tree(recipe: str, overrides: Sequence[str] = (), keep_hydra: bool = False) -> DictConfig:
    """Compose a recipe with Hydra, with or without Hydra's own node; see compose."""
    name = locate(recipe)
    register()
    check_overrides(overrides)
    overrides = added_groups(overrides)
    GlobalHydra.instance().clear()
    # A folder without YAML: our source answers for all; plain `initialize` would look for the caller's folder instead.
    with (translate_hydra_errors(recipe, overrides, partial(compose_tree, recipe)),
          initialize_config_dir(str(Path(__file__).parent), version_base="1.3")):
        return hydra_compose(name, overrides=list(overrides), return_hydra_config=keep_hydra)


def from_hydra(tree: DictConfig, recipe: str, picks: Mapping[str, str], overrides: Sequence[str] = ()) -> Recipe:
    """Make a Recipe of what Hydra composed, and put into the tree what the folders of its parts state.

    Args:
        recipe: as `compose` takes it.
        picks: the names that were picked for its parts.
        overrides: those of the command line.
    """
    name = recipe_name(recipe)
    try:
        values = OmegaConf.to_container(tree, resolve=True)
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None) or "a value"
        raise ConfigError(f"recipe {name}: {key} cannot be resolved: {str(error).splitlines()[0]};"
                          " write the value there.") from error
    assert isinstance(values, dict), "a recipe is a mapping"
    found = {str(k): v for k, v in values.items()}
    if is_run_config(Path(recipe)):  # which holds what its folders stated when it was made
        return parse(found, name, picks)
    keys = {override.lstrip("+~").partition("=")[0] for override in overrides}
    for path, value in folder_values(found, picks, keys).items():
        *above, key = path.split(".")
        functools.reduce(lambda inside, one: inside[one], above, found)[key] = plain(value)
        with flag_override(tree, ["struct", "readonly"], False):
            OmegaConf.update(tree, path, plain(value))
    return parse(found, name, picks)


def run_jobs(recipe: str, argv: Sequence[str], job: Callable[[Recipe, str], None]) -> None:
    """Call `job(recipe, yaml)` through hydra.main: once, or with -m once for each point of a sweep; --cfg job only prints.

    Hydra makes no folder and no log of its own. While a job runs, sys.argv is the command for that job alone, which starts
    once for each device where a stage has several.
    """
    recipe, argv = resume_overrides(recipe, argv)
    name, program = locate(recipe), sys.argv[0]
    errors: list[OmnikitError] = []  # Hydra would print a line of its own for each, and stop a sweep at the first

    def task(tree: DictConfig) -> None:
        sys.argv = [program, "train", recipe, *HydraConfig.get().overrides.task]
        try:
            picks = _picks(HydraConfig.get().runtime.choices)
            tree.stages = {name: stage for name, stage in tree.stages.items() if stage is not None}  # null: left out
            made = from_hydra(tree, recipe, picks, HydraConfig.get().overrides.task)
            job(made, dump_yaml(OmegaConf.to_container(tree, resolve=True)))
        except OmnikitError as error:
            errors.append(error)

    register()
    check_overrides(argv)
    argv = added_groups(argv)
    before = sys.argv
    try:
        # Hydra writes a multirun.yaml for a sweep
        with translate_hydra_errors(recipe, argv, partial(compose_tree, recipe)), TemporaryDirectory() as swept:
            sys.argv = [program, "--config-name", name, *argv, *_NO_OUTPUT, f"hydra.sweep.dir={swept}"]
            hydra_main(config_path=None, version_base="1.3")(task)()
    finally:
        sys.argv = before
    if errors:
        raise OmnikitError(*dict.fromkeys(str(error) for error in errors))


def added_groups(overrides: Sequence[str]) -> list[str]:
    """Let `trainer=fsdp2` and `trainer.devices=8` hold also where a recipe has no `trainer` of its own."""
    marks = {"trainer=": "+", "trainer.": "++"}
    return [marks.get(override[:8], "") + override for override in overrides]


def resume_overrides(recipe: str, overrides: Sequence[str]) -> tuple[str, list[str]]:
    """Give recipe and overrides that go on with a run, where its folder is given instead of a recipe; else those given."""
    folder = Path(recipe)
    if not is_run_config(folder / "config.yaml"):
        return recipe, list(overrides)
    return str(folder / "config.yaml"), [*overrides, f"run={quoted(str(folder))}"]


def recipe_name(recipe: str) -> str:
    """Give the name under which runs of a recipe are kept: its own name, a file's stem, or the one that a run recorded."""
    if is_run_config(Path(recipe)):
        return recorded_name(Path(recipe).with_name("manifest.json"))
    return Path(recipe).stem if recipe.endswith((".yaml", ".yml")) else recipe


def _picks(choices_of_hydra: Mapping[str, Any]) -> dict[str, str]:
    """Give part → picked name, audio.encoder → whisper_large_v3."""
    return {group.replace("/", "."): name for group, name in choices_of_hydra.items()
            if isinstance(name, str) and not group.startswith("hydra")}
