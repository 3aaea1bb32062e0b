"""The configs that Hydra asks for: presets of any branch, datasets, the schema and recipes.

The groups exist for every branch without a file for each: one ConfigSource gives them from the entry points. Recipes come
through it as well, so that a third-party YAML can neither name code (`_target_`) nor reconfigure Hydra.
"""

import os
import re
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf

from omnikit.errors import ConfigError, OmnikitError
from omnikit.paths import recipe_files, with_run_tokenizer
from omnikit.recipe import presets
from omnikit.recipe.answers import Evaluate, Generate
from omnikit.recipe.inheritance import check_no_cycle, inherited_stages
from omnikit.recipe.live import Live
from omnikit.recipe.media import MediaLimits
from omnikit.recipe.recipe import OWN_KEYS, SLOTS, Stage
from omnikit.recipe.row_policy import DEFAULTS
from omnikit.recipe.run_recipe import is_run_config
from omnikit.recipe.schema import defaults, editable
from omnikit.recipe.validation import check_file

_BRANCH = re.compile(r"[a-z][a-z0-9_]*")
_COMMON_BRANCHES = ("audio", "speech", "text", "transcript", "turn", "vision")
_recipe_paths: dict[str, Path] = {}  # config name → file of the recipe given by path; Hydra has no other way to pass it


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


def _preset_fields(kind: str, parts: list[str]) -> dict[str, Any]:
    try:
        return presets.preset_fields(kind, parts[-1]) | (deepcopy(DEFAULTS) if kind == "data" else {})
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
    if "_self_" not in values.get("defaults", ["_self_"]):  # what a file sets wins; Hydra does so too, with a warning
        values = {**values, "defaults": [*values["defaults"], "_self_"]}
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
    tree["media"] = OmegaConf.create(defaults(MediaLimits))
    return tree
