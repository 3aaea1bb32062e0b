"""Run folders: where a recipe's stages lie, which of them are done.

runs/<recipe>/<fingerprint>/<stage>/{config.yaml, manifest.json, weights.safetensors, metrics.csv, checkpoints, done}, beside
them config.yaml and manifest.json of the last training; runs/<recipe>/latest links to the newest finished run. Uses no weights.
"""

import os
import re
from pathlib import Path

from omnikit.errors import RunError
from omnikit.paths import with_run_tokenizer
from omnikit.plan.plan import Plan
from omnikit.recipe.recipe import Recipe
from omnikit.registry import shipped_run
from omnikit.store import run_manifest
from omnikit.store.facts import stage_hash
from omnikit.store.files import disk_errors

RUNS = Path("runs")
WEIGHTS = "weights.safetensors"
METRICS = "metrics.csv"
DONE = "done"
_HASH = re.compile(r"[0-9a-f]{16}")


def run_folder(recipe: Recipe) -> Path:
    """Give the folder that a recipe's run lies in."""
    return Path(recipe.run) if recipe.run else RUNS / recipe.name / recipe.fingerprint()


def find(run: str | Path) -> Path:
    """Find a run given as a folder, a link to one, or a recipe's name: its latest run, else the one that a package ships.

    Raises:
        RunError: there is no such run, or it has no finished stage.
    """
    for folder in (Path(run), Path(run) / "latest", RUNS / run / "latest", shipped_run(str(run))):
        if folder and any(folder.glob("[!.]*/config.yaml")):
            _check_one_run(folder)
            return folder.resolve()
    raise RunError(f"{run} is not a run: neither a folder with finished stages nor a recipe with a latest run in {RUNS}/;"
                   f" train first with omnikit train {run}.")


def _check_one_run(folder: Path) -> None:
    """Raise RunError where a folder holds runs: their stages lie one level deeper, and it has no configuration of its own."""
    own = any(os.path.lexists(folder / name) for name in (run_manifest.CONFIG, run_manifest.NAME))
    if not own and (deeper := sorted(folder.glob("[!.]*/[!.]*/config.yaml"))):
        raise RunError(f"{folder} is a folder of runs, not a run; give one of them, for example {deeper[0].parents[1]}.")


def link_latest(folder: Path) -> None:
    """Let `latest` beside a run's folder point at it, by a relative link.

    Raises:
        RunError: the disk refuses, or something else has that name.
    """
    link, partial = folder.parent / "latest", folder.parent / f".latest.{os.getpid()}.part"
    with disk_errors(link):
        partial.unlink(missing_ok=True)
        partial.symlink_to(folder.name)
        try:
            partial.replace(link)
        finally:
            partial.unlink(missing_ok=True)


def finished_hash(folder: Path, name: str) -> str | None:
    """Give the hash of what decided the weights of a finished stage; None if it is not finished.

    Raises:
        RunError: what has the stage's name is not a folder, or its `done` is damaged.
    """
    final = folder / name
    advice = f"put it back as it was, or train it again with --retrain {name}"
    if final.is_symlink() and not final.exists():
        raise RunError(f"{final} is a link to {final.readlink()}, which is not there; {advice}.")
    if final.exists() and not final.is_dir():
        raise RunError(f"{final} is a file, but a stage is a folder; move it away.")
    if not os.path.lexists(final / DONE):
        return None
    try:
        found = (final / DONE).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text"
        raise RunError(f"{final / DONE} cannot be read ({reason}); {advice}.") from error
    if not _HASH.fullmatch(found):
        raise RunError(f"{final / DONE} holds {found[:40]!r}, but must hold 16 hex digits; {advice}.")
    return found


def is_done(folder: Path, plan: Plan, name: str) -> bool:
    """Say whether a stage lies finished in a run folder, trained by this plan; see finished_hash for what is raised."""
    return finished_hash(folder, name) == stage_hash(plan, name)


def load_plan(folder: Path) -> Plan:
    """Give the plan of a run folder, as the last training recorded it.

    Raises:
        OmnikitError: the record is missing, cannot be read, or names what is no longer installed.
    """
    from omnikit.plan.plan import make
    from omnikit.recipe.presets import mapping_of, read_mapping
    from omnikit.recipe.recipe import parse

    found, path = run_manifest.read(folder), folder / run_manifest.CONFIG
    values = mapping_of(found.config, folder / run_manifest.NAME)
    same = path.is_file() and path.read_bytes() == found.config.encode()
    if not same and os.path.lexists(path) and (edited := read_mapping(path)) != values:
        parse(edited, found.recipe)  # what is wrong in it comes first
        raise RunError(f"{path} is not what the last training wrote; take it up with omnikit train {folder}, or remove it.")
    return make(parse(with_run_tokenizer(values, folder), found.recipe))
