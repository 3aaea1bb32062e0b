"""Paths on this machine: shipped recipes, the cache."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def recipe_files() -> dict[str, Path]:
    """Give name → file of the recipes that are shipped."""
    spec = find_spec("omnikit.recipes")  # in an editable install this is recipes/ at the top of the tree
    assert spec is not None and spec.submodule_search_locations, "the wheel ships omnikit.recipes"
    folder = Path(spec.submodule_search_locations[0])
    return {str(path.relative_to(folder).with_suffix("")): path for path in sorted(folder.glob("**/*.yaml"))}


def with_run_tokenizer(values: dict[str, Any], run: Path) -> dict[str, Any]:
    """Give a run's recipe with the tokenizer that the run carries, where the run lies elsewhere than when it was made."""
    backbone = values.get("backbone")
    named = Path(backbone["tokenizer"]) if isinstance(backbone, dict) and isinstance(backbone.get("tokenizer"), str) else None
    if named is None or (named.suffix != ".json" and len(named.parts) < 2) or named.expanduser().exists():  # or a name
        return values
    own = run / "tokenizer" / ("tokenizer.json" if named.suffix == ".json" else "")
    return {**values, "backbone": {**values["backbone"], "tokenizer": str(own.absolute())}} if own.exists() else values


def cache_folder() -> Path:
    """Give the one folder for what can be made again: $OMNIKIT_CACHE, else `omnikit` in the user's cache directory."""
    named = os.environ.get("OMNIKIT_CACHE")
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(named) if named else Path(home) / "omnikit"
