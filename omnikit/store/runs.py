"""Run folders: where a recipe's stages lie, which of them are done.

runs/<recipe>/<fingerprint>/<stage>/{config.yaml, manifest.json, weights.safetensors, metrics.csv, checkpoints, done}, beside
them config.yaml and manifest.json of the last training; runs/<recipe>/latest links to the newest finished run. Uses no weights.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
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
PARTIAL = ".*.partial"  # folders of stages that are not complete, see omnikit.store.stage_folder
DEPTH = 5  # folders below each other in which runs are looked for: runs/SYSTEM/RECIPE/FINGERPRINT, and a sweep's above
SHOWN = 3  # runs that a message names
_HASH = re.compile(r"[0-9a-f]{16}")


def run_folder(recipe: Recipe) -> Path:
    """Give the folder that a recipe's run lies in."""
    return Path(recipe.run) if recipe.run else RUNS / recipe.name / recipe.fingerprint()


def find(run: str | Path) -> Path:
    """Find a run given as a folder, a link to one, or a recipe's name: its latest run, else the one that a package ships.

    Raises:
        RunError: there is no such run; it names what lies there instead.
    """
    with _looking(Path(run)):
        for folder in (Path(run), Path(run) / "latest", RUNS / run / "latest", shipped_run(str(run))):
            if folder and _has_stages(folder):
                return folder.resolve()
        raise RunError(f"{run} is {_instead(Path(run))}")


@contextmanager
def _looking(path: Path) -> Iterator[None]:
    """Turn what the system refuses on the way to a run into one sentence."""
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a null character
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise RunError(f"{str(path)[:200]!r} is not a run: {reason}; name a run's folder or a recipe.") from error


def _has_stages(folder: Path) -> bool:
    """Whether a folder is a run whose stages may be asked for, not one of its stages and not a folder of runs."""
    if is_stage(folder):
        return False
    return is_recorded(folder) or any(not is_recorded_run(file.parent) for file in folder.glob("[!.]*/config.yaml"))


def is_stage(folder: Path) -> bool:
    """Whether a folder is a finished stage of a run."""
    return os.path.lexists(folder / DONE)


def is_recorded(folder: Path) -> bool:
    """Whether a folder has the record of a run, or of a stage."""
    return (folder / run_manifest.NAME).is_file() and (folder / run_manifest.CONFIG).is_file()


def is_recorded_run(folder: Path) -> bool:
    """Whether a folder has the record of a run, and no stage's."""
    return is_recorded(folder) and not is_stage(folder)


def is_run(folder: Path) -> bool:
    """Whether a folder is a run, finished, begun or broken off: it has a manifest, a stage, or the beginnings of one."""
    return is_recorded(folder) or any(folder.glob(f"[!.]*/{DONE}")) or any(folder.glob(PARTIAL))


def run_folders(folder: Path, depth: int = DEPTH) -> Iterator[Path]:
    """Give the folders of runs, without following links."""
    if is_run(folder):
        yield folder
    elif depth:
        for below in sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink()):
            yield from run_folders(below, depth - 1)


def _instead(path: Path) -> str:
    """Say what lies where a run was expected, and what to do."""
    if path.is_symlink() and not path.exists():
        return f"not a run: it is a link to {path.readlink()}, which is not there; link it again."
    if path.is_file():
        return "not a run: it is a file, but a run is a folder; name the run's folder."
    if is_stage(path):
        return f"not a run: it is a stage of {path.parent}; name that folder."
    if any(path.glob(PARTIAL)):
        return f"not a run: it has no finished stage yet; finish its training with omnikit train RECIPE run={path}."
    if (path / "adapter_config.json").is_file() or (path / "config.json").is_file() or (path / "tokenizer.json").is_file():
        return (f"not a run: it is the folder of a model; train with backbone.weights={path}, or make a run of it with omnikit"
                f" import LAYOUT {path} --out RUN.")
    runs = [str(run) for run in islice(run_folders(path), SHOWN + 1)] if path.is_dir() else []
    if runs:
        more = " and more" if len(runs) > SHOWN else ""
        return f"a folder of runs, not a run; give one of them: {', '.join(runs[:SHOWN])}{more}."
    return (f"not a run: neither a folder with finished stages nor a recipe with a latest run in {RUNS}/; train first with"
            f" omnikit train {path}.")


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
