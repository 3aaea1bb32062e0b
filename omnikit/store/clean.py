"""What can be removed below a folder of runs: what was broken off, what a newer run replaces, caches. Nothing in use."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from omnikit.errors import RunError
from omnikit.paths import cache_folder
from omnikit.store.files import disk_errors
from omnikit.store.locks import hold, holder
from omnikit.store.run_list import CHECKPOINTS, LOCK, RunSummary, list_runs, size, summary
from omnikit.store.runs import PARTIAL, is_run

REPLACED, PARTS = ".*.before", ".*.part"  # of stages and of files, between two renames


@dataclass(frozen=True)
class Leftover:
    """Something to remove, and why it may go.

    Args:
        run: the run's folder, whose lock is held meanwhile; None for what belongs to none.
    """

    path: Path
    reason: str
    size: int
    run: Path | None = None


def leftovers(folder: Path, named: Sequence[Path] = (), *, superseded: bool = False, checkpoints: bool = False,
              caches: bool = False) -> list[Leftover]:
    """Give what can be removed; a run that is being trained is left alone.

    Args:
        folder: where the runs lie.
        named: runs that are removed completely, whatever they hold; then nothing else is.
        superseded: finished runs, too, where a recipe's `latest` is another one.
        checkpoints: the last checkpoints of finished stages, too, which only a raised max_steps goes on from.
        caches: the toolkit's cache folder, too: recordings and features, which can be made again.

    Raises:
        RunError: what is named is not a run, or is being trained.
    """
    if named:
        return [_named(path) for path in named]
    runs = [run for run in (list_runs(folder) if folder.is_dir() else []) if not run.training]
    found = [one for run in runs for one in _of_run(run)]
    if superseded:
        found += [Leftover(run.folder, f"replaced by {run.folder.parent / 'latest'}", run.size, run.folder) for run in runs
                  if run.done and not run.latest and (run.folder.parent / "latest").exists()]
    if checkpoints:
        removed = {one.path for one in found}
        found += [Leftover(path, "checkpoint of a finished stage", size(path), run.folder) for run in runs
                  if run.folder not in removed for name in run.done if (path := run.folder / name / CHECKPOINTS).is_dir()]
    return found + (list(_caches()) if caches else [])


def remove(found: Iterable[Leftover]) -> int:
    """Remove what was found; gives the bytes that are free now.

    Raises:
        RunError: the disk refuses, or a run is being trained meanwhile.
    """
    freed = 0
    for one in found:
        freed += one.size
        if one.run is None:
            _remove(one.path)
            continue
        with hold(one.run / LOCK, f"{one.run} is being trained", "wait for it, or leave it out"):
            _remove(one.path)
        latest = one.path.parent / "latest"
        if latest.is_symlink() and not latest.exists():
            latest.unlink()
    return freed


def _named(path: Path) -> Leftover:
    folder = path.resolve()
    if not folder.is_dir() or not is_run(folder):
        raise RunError(f"{path} is not a run, so it is not removed; omnikit runs lists the runs.")
    if who := holder(folder / LOCK):
        raise RunError(f"{path} is being trained by {who}, so it is not removed; stop that first.")
    run = summary(folder)
    state = f"{len(run.done)} of {len(run.stages)} stages finished" if run.stages else "no stage finished"
    return Leftover(folder, f"named ({state}{', latest of its recipe' if run.latest else ''})", run.size, folder)


def _of_run(run: RunSummary) -> Iterator[Leftover]:
    if not run.done and not run.problem:
        yield Leftover(run.folder, "no stage finished", run.size, run.folder)
        return
    kinds = {PARTIAL: "unfinished stage", REPLACED: "stage that was being replaced", PARTS: "unfinished file"}
    for pattern, reason in kinds.items():
        for path in sorted(run.folder.glob(pattern)):
            yield Leftover(path, reason, size(path), run.folder)


def _caches() -> Iterator[Leftover]:
    """Give the folders of the cache in which nobody writes."""
    cache = cache_folder()
    for path in sorted(cache.iterdir()) if cache.is_dir() else ():
        if not any(holder(lock) for lock in path.rglob("*.lock")):
            yield Leftover(path, "cache, made again when it is needed", size(path))


def _remove(path: Path) -> None:
    with disk_errors(path):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
