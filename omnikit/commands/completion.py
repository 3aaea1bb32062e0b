"""Tab completion for bash: commands, recipes, then Hydra's own completion of groups, presets and keys.

`eval "$(omnikit completion bash)"` installs it; bash then calls `omnikit completion words LINE`.
"""

import sys
from pathlib import Path

from omnikit.cli import COMMANDS
from omnikit.errors import ConfigError, OmnikitError
from omnikit.paths import recipe_files

SCRIPT = """_omnikit() {
  local word="${COMP_WORDS[COMP_CWORD]}"
  local line="${COMP_LINE:0:COMP_POINT}"
  COMPREPLY=($(compgen -o nospace -o default -W "$(omnikit completion words "$line" 2>/dev/null)" -- "${line##* }"))
}
COMP_WORDBREAKS=${COMP_WORDBREAKS//=}
COMP_WORDBREAKS=${COMP_WORDBREAKS//:}
complete -o nospace -o default -F _omnikit omnikit
"""


def run(argv: list[str]) -> int:
    """Print the script (`bash`) or the words that can follow a line (`words LINE`)."""
    if argv[:1] == ["words"] and len(argv) == 2:
        sys.stdout.write("\n".join(words(argv[1])) + "\n")
        return 0
    if argv == ["bash"]:
        sys.stdout.write(SCRIPT)
        return 0
    raise ConfigError(f"completion is for bash, not {' '.join(argv) or 'nothing'}; write: eval \"$(omnikit completion bash)\".")


def words(line: str) -> list[str]:
    """Give what can stand at the end of a command line such as `omnikit train llama_omni/tiny audio/enc`."""
    given = line.split()
    if line.endswith(" ") or not given:
        given.append("")
    given = [word for word in given[:-1] if not word.startswith("-")] + given[-1:]  # flags may stand anywhere
    if len(given) <= 2:
        return [word for word in COMMANDS if word.startswith(given[-1])]
    if given[1] in ("train", "check", "show", "forecast", "diff"):
        return _recipe_names(given[2]) if len(given) == 3 else _overrides(given[2], given[3:])
    if given[1] in ("chat", "eval", "check-head", "bundle", "replay") and len(given) == 3:
        return _run_names(given[2])
    if given[1] == "compare":
        return _run_names(given[-1])
    if given[1] == "bench":
        return _bench(given[2:])
    if given[1] in ("import", "export") and len(given) == 3:
        from omnikit.recipe.presets import names

        return [name for name in names("importer") if name.startswith(given[2])]
    if given[1] == "data":
        return _data(given[2:])
    if given[1] == "list":
        from omnikit.commands.list import GROUPS

        return [kind for kind in (*GROUPS, "recipe") if kind.startswith(given[-1])]
    return []


def _run_names(start: str) -> list[str]:
    return [name for name in recipe_files() if name.startswith(start) and (Path("runs") / name).is_dir()]


def _bench(given: list[str]) -> list[str]:
    from omnikit.commands.bench import BENCHES

    if len(given) == 1:
        return [name for name in BENCHES if name.startswith(given[0])]
    return _run_names(given[1]) if len(given) == 2 else []


def _data(given: list[str]) -> list[str]:
    """Complete `omnikit data build NAME key=…` and `omnikit data inspect|check RECIPE …`."""
    from omnikit import registry
    from omnikit.recipe.presets import names
    from omnikit.recipe.schema import defaults

    if len(given) == 1:
        return [word for word in ("build", "inspect", "check") if word.startswith(given[0])]
    if given[0] in ("inspect", "check"):
        return _recipe_names(given[1]) if len(given) == 2 else _overrides(given[1], given[2:])
    if given[0] == "build" and len(given) == 2:
        return [name for name in names("builder") if name.startswith(given[1])]
    if given[0] == "build" and given[1] in names("builder"):
        options = ("out", *defaults(registry.component("builder", given[1])))
        return [f"{option}=" for option in options if f"{option}=".startswith(given[-1])]
    return []


def _recipe_names(start: str) -> list[str]:
    return [name for name in recipe_files() if name.startswith(start)]


def _overrides(recipe: str, given: list[str]) -> list[str]:
    """Ask Hydra, which has not seen the subcommand and the recipe; a line that cannot be composed completes to nothing."""
    from hydra import initialize
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from hydra.plugins.completion_plugin import DefaultCompletionPlugin
    from omegaconf.errors import OmegaConfBaseException

    from omnikit.recipe import config_source

    given = [word for word in given[:-1] if "=" in word or word.startswith("~")] + given[-1:]  # no `job` of `--cfg job`
    try:
        name = config_source.locate(recipe)
        config_source.register()
        GlobalHydra.instance().clear()
        with initialize(version_base="1.3", config_path=None):
            hydra = GlobalHydra.instance().hydra
            assert hydra is not None, "initialize sets it"
            found = DefaultCompletionPlugin(hydra.config_loader)._query(name, " ".join(given))
    except (OmnikitError, HydraException, OmegaConfBaseException, ValueError):  # a broken line completes to nothing
        return []
    return [word for word in found if not word.startswith("hydra")]
