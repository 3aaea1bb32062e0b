"""The recipe that a run's folder holds: config.yaml, and its name in manifest.json beside it. Uses no other file of a run."""

import json
from pathlib import Path

from omnikit.errors import ConfigError


def is_run_config(path: Path) -> bool:
    """Give whether a file is the saved recipe of a run."""
    return path.name == "config.yaml" and path.is_file() and path.with_name("manifest.json").is_file()


def recorded_name(manifest: Path) -> str:
    """Give the recipe's name that a run's manifest holds."""
    try:
        name = json.loads(manifest.read_text(encoding="utf-8"))["recipe"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise ConfigError(f"{manifest} cannot be read ({type(error).__name__}: {error}); write it again with omnikit train"
                          f" RECIPE run={manifest.parent}.") from error
    return str(name)
