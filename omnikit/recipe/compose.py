"""Hydra composes a recipe here and nowhere else; what leaves this file is a Recipe made of dataclasses.

Slash picks, dot sets: `audio/encoder=mel_cnn audio.projector.stride=2`. The groups exist for every branch without a file for
each: one ConfigSource answers them from the entry points. Recipes come through the same source, so that a third-party YAML can
neither name code (`_target_`) nor reconfigure Hydra.
"""

import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_module
from hydra import main as hydra_main
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf, flag_override
from omegaconf.errors import OmegaConfBaseException

from omnikit.errors import ConfigError, OmnikitError
from omnikit.paths import recipe_files, with_run_tokenizer
from omnikit.recipe import presets
from omnikit.recipe.answers import Evaluate, Generate
from omnikit.recipe.hydra_errors import translate_hydra_errors
from omnikit.recipe.inheritance import check_no_cycle, inherited_stages
from omnikit.recipe.live import Live
from omnikit.recipe.recipe import OWN_KEYS, SLOTS, Recipe, Stage, parse
from omnikit.recipe.run_recipe import is_run_config, recorded_name
from omnikit.recipe.schema import defaults, editable
from omnikit.recipe.validation import check_file, check_overrides

_BRANCH = re.compile(r"[a-z][a-z0-9_]*")
_COMMON_BRANCHES = ("audio", "speech", "text", "transcript", "turn", "vision")
_NO_OUTPUT = ("hydra.run.dir=.", "hydra.output_subdir=null", "hydra.sweep.subdir=.", "hydra/job_logging=none")
_recipe_paths: dict[str, Path] = {}  # config name → file of the recipe given by path; Hydra has no other way to pass it


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
    return from_hydra(tree, recipe_name(recipe), _picks(choices))


def compose_tree(recipe: str, overrides: Sequence[str] = (), keep_hydra: bool = False) -> DictConfig:
    """Compose a recipe with Hydra, with or without Hydra's own node; see compose."""
    name = locate(recipe)
    register()
    check_overrides(overrides)
    overrides = added_groups(overrides)
    GlobalHydra.instance().clear()
    # A module without YAML: our source answers for all; plain `initialize` would look for the caller's folder instead.
    with (translate_hydra_errors(recipe, overrides, partial(compose_tree, recipe)),
          initialize_config_module("omnikit.recipe", version_base="1.3")):
        return hydra_compose(name, overrides=list(overrides), return_hydra_config=keep_hydra)


def from_hydra(tree: DictConfig, name: str, picks: Mapping[str, str] | None = None) -> Recipe:
    """Make a Recipe of what Hydra composed; `picks` are the names that were picked for its parts."""
    try:
        values = OmegaConf.to_container(tree, resolve=True)
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None) or "a value"
        raise ConfigError(f"recipe {name}: {key} cannot be resolved: {str(error).splitlines()[0]};"
                          " write the value there.") from error
    assert isinstance(values, dict), "a recipe is a mapping"
    return parse({str(k): v for k, v in values.items()}, name, picks)


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
            job(from_hydra(tree, recipe_name(recipe), picks), OmegaConf.to_yaml(tree, resolve=True))
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
    quoted = str(folder).replace("\\", "\\\\").replace("'", "\\'")
    return str(folder / "config.yaml"), [*overrides, f"run='{quoted}'"]


def recipe_name(recipe: str) -> str:
    """Give the name under which runs of a recipe are kept: its own name, a file's stem, or the one that a run recorded."""
    if is_run_config(Path(recipe)):
        return recorded_name(Path(recipe).with_name("manifest.json"))
    return Path(recipe).stem if recipe.endswith((".yaml", ".yml")) else recipe


def locate(recipe: str) -> str:
    """Give Hydra's config name for a recipe's name or path; a path's folder joins the search path."""
    if not recipe.endswith((".yaml", ".yml")):
        known = list(recipe_files())
        if recipe not in known:
            raise ConfigError(presets.unknown_name("recipe", recipe, known, "or give the path of a YAML file"))
        name = recipe.replace("/", ".")  # a slash would make Hydra look for `+branch/kind=…` in the recipe's folder
        _recipe_paths.clear()
        _recipe_paths[name] = recipe_files()[recipe]
        return name
    path = Path(recipe).resolve()
    if not path.is_file():
        raise ConfigError(f"recipe {recipe} is not there: no such file; give a path to a YAML or one of"
                          f" {', '.join(recipe_files())}.")
    name = f"{path.stem}_file" if _is_reserved(path.stem) else path.stem
    _recipe_paths.clear()
    _recipe_paths[name] = path
    return name


def register() -> None:
    """Register our source with Hydra, once; not through the `hydra_plugins` namespace, which editable installs hide."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    plugins = Plugins.instance()
    for plugin in (OmnikitSource, OmnikitSearchPath):
        plugins.register(plugin)


class OmnikitSource(ConfigSource):
    """Answers Hydra's questions for presets of any branch, datasets, the schema and recipes."""

    @staticmethod
    def scheme() -> str:
        return "omnikit"

    def available(self) -> bool:
        return True

    def is_group(self, config_path: str) -> bool:
        parts = _parts(config_path)
        return _kind(parts) is not None or _is_folder(parts)

    def is_config(self, config_path: str) -> bool:
        parts = _parts(config_path)
        return parts == ["recipe"] or _kind(parts[:-1]) is not None or _recipe_file(parts) is not None

    def load_config(self, config_path: str) -> ConfigResult:
        parts = _parts(config_path)
        kind = _kind(parts[:-1])
        if parts == ["recipe"]:
            return self._result(_schema(), package="_global_")
        if kind is not None and parts[-1] == "None":  # `override /speech/units: null` leaves the part out
            return self._result(OmegaConf.create({}), package="_global_")
        if kind is not None:
            return self._result(OmegaConf.create(_preset_fields(kind, parts)), package=".".join(parts[:-1]))
        path = _recipe_file(parts)
        assert path is not None, f"Hydra asked for {config_path}, which is_config denied"
        values = presets.read_mapping(path)
        if is_run_config(path):  # where it was made; resume_overrides gives where it is
            values = with_run_tokenizer({**values, "run": None}, path.parent)
        # A recipe is a whole configuration, whatever `# @package` it claims: another one could reach Hydra's own node.
        return self._result(_checked_config(path, values), package="_global_")

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        parts = _parts(config_path)
        kind = _kind(parts)
        if kind is not None:
            return [] if results_filter == ObjectType.GROUP else presets.names(kind)
        if results_filter == ObjectType.CONFIG:
            return []
        return sorted({"": (*_COMMON_BRANCHES, "backbone", "data", "trainer")}.get("/".join(parts), SLOTS))

    def _result(self, config: Any, **header: str | None) -> ConfigResult:
        return ConfigResult(self.provider, f"{self.scheme()}://{self.path}", config, dict(header))


class OmnikitSearchPath(SearchPathPlugin):
    """Puts our source on every search path."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.append(provider="omnikit", path="omnikit://")


def _picks(choices_of_hydra: Mapping[str, Any]) -> dict[str, str]:
    """Give part → picked name, audio.encoder → whisper_large_v3."""
    return {group.replace("/", "."): name for group, name in choices_of_hydra.items()
            if isinstance(name, str) and not group.startswith("hydra")}


def _preset_fields(kind: str, parts: list[str]) -> dict[str, Any]:
    try:
        return presets.preset_fields(kind, parts[-1])
    except OmnikitError as error:
        raise ConfigError(f"{'/'.join(parts[:-1])}: {error}") from error


def _parts(config_path: str) -> list[str]:
    return [part for part in config_path.removesuffix(".yaml").split("/") if part]


def _kind(parts: list[str]) -> str | None:
    """Give the component kind that a group picks: audio/encoder → encoder, backbone → backbone, data/x → data."""
    if parts in (["backbone"], ["trainer"]):
        return parts[0]
    if len(parts) != 2 or not all(_BRANCH.fullmatch(part) for part in parts):
        return None
    if parts[0] == "data":
        return "data"
    return SLOTS.get(parts[1]) if parts[0] not in OWN_KEYS else None


def _is_folder(parts: list[str]) -> bool:
    recipes = any(name.startswith("/".join([*parts, ""])) for name in recipe_files())
    return recipes or not parts or (len(parts) == 1 and parts[0] in ("data", *_COMMON_BRANCHES))


def _recipe_file(parts: list[str]) -> Path | None:
    """Find a recipe by its config name: the one given by path, a YAML beside it, or a shipped one."""
    if parts[:1] == ["hydra"]:  # reserved for Hydra's own groups
        return None
    name = "/".join(parts)
    if name in _recipe_paths:
        return _recipe_paths[name]
    beside = [file.parent / f"{name}{suffix}" for file in _recipe_paths.values() for suffix in (".yaml", ".yml")]
    return next((path for path in beside if path.is_file() and parts != ["recipe"]), recipe_files().get(name))


def _extended(entry: str) -> Path | None:
    """Find the recipe that an entry of the defaults extends."""
    return _recipe_file(_parts(entry))


def _is_reserved(name: str) -> bool:
    """Give whether Hydra would read a file's name as the schema, a group or its own node."""
    return name in ("recipe", "hydra") or _is_folder([name]) or _kind([name]) is not None


def _checked_config(path: Path, values: dict[str, Any]) -> DictConfig:
    """Give a recipe file's content, unless it sets what no recipe may, or extends itself."""
    check_no_cycle(path, values, _extended)
    stages = values.get("stages")
    gaps = isinstance(stages, Mapping) and None in stages.values()
    check_file(path, values, inherited_stages(values, _extended) if gaps else ())
    return OmegaConf.create(values)


def _schema() -> DictConfig:
    """Give the typed skeleton of a recipe; components stay free mappings, checked against their dataclass later."""
    stages = DictConfig({}, element_type=editable(Stage) | None, key_type=str)  # null leaves out a stage of the recipe below
    tree = OmegaConf.create({"template": None, "system": None, "seed": 0, "run": None, "stage": None, "data": {},
                             "trainer": {}})
    tree["stages"] = stages
    tree["generate"] = OmegaConf.structured(editable(Generate))
    tree["evaluate"] = OmegaConf.create(defaults(Evaluate))
    tree["live"] = OmegaConf.create(defaults(Live))
    return tree
