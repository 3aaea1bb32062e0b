"""A stage's folder through its life: filled under another name, complete, in its place; the one before it aside meanwhile.

    .understand.partial    being filled; complete when manifest.json and all weights that it names are there; until then its
                           checkpoints/ may be resumed from
    .understand.before     the stage that is being replaced; only between two renames

Whatever moment a kill picks, `repair` gives either the old stage or the new one, never neither.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omnikit.errors import RunError
from omnikit.store import best_weights, checkpoint, training_checkpoint
from omnikit.store.content import Stat
from omnikit.store.files import disk_errors, read_json, write_json, write_text
from omnikit.store.manifest import NAME, read
from omnikit.store.runs import DONE, WEIGHTS


def partial_folder(folder: Path, name: str) -> Path:
    """Give the folder that a stage is written to until it is complete."""
    return folder / f".{name}.partial"


@contextmanager
def filling(folder: Path, name: str, source: Path | None = None) -> Iterator[Path]:
    """Give a folder for a stage; it stays if it was filled completely, or holds a checkpoint to go on from, and goes if not.

    Args:
        source: the folder of the stage whose checkpoint it goes on from, this one or the finished one; None: it is empty.
    """
    partial = partial_folder(folder, name)
    try:
        with disk_errors(folder / name):
            if source != partial:
                shutil.rmtree(partial, ignore_errors=True)
                partial.mkdir(parents=True)
            if source is not None and source != partial:
                for file in source.glob("*.csv"):
                    shutil.copy2(file, partial)
                best_weights.copy(source, partial)
        yield partial
    finally:
        if complete_hash(partial) is None and training_checkpoint.newest(partial, complete=False) is None:
            shutil.rmtree(partial, ignore_errors=True)


def complete_hash(path: Path) -> str | None:
    """Give the hash of what decided a stage's weights if all of it is written, `done` or not; None otherwise."""
    try:
        record = read_json(path / NAME, "train again")
        weights, _ = checkpoint.hashes(path / WEIGHTS)
    except RunError:
        return None
    trained, after, digest = record.get("trained"), record.get("weights_after"), record.get("hash")
    if not isinstance(trained, list) or not isinstance(after, dict) or not isinstance(digest, str):
        return None
    same = set(weights) == set(trained) and all(after.get(part, found) == found for part, found in weights.items())
    return digest if same else None


def _verified_hash(path: Path) -> str | None:
    """Give `complete_hash` of what a kill or a power cut left, if every tensor is the one that was written."""
    digest = complete_hash(path)
    try:
        if digest is not None:
            checkpoint.verify(path / WEIGHTS)
    except RunError:
        return None
    return digest


def publish(folder: Path, name: str) -> None:
    """Give a complete stage its name; the one that had it is moved aside before and removed afterwards.

    Raises:
        RunError: the disk refuses, or what has the name is not a stage of ours.
    """
    partial = partial_folder(folder, name)
    check_ours(folder, name)
    with disk_errors(folder / name):
        if not (partial / DONE).is_file():
            mark_done(partial)
        if os.path.lexists(folder / name):
            move_previous(folder, name)
        take_name(folder, name)
        remove(_previous(folder, name))


def mark_done(path: Path) -> None:
    """Write `done` into a complete stage, and into its manifest which weights and files it has."""
    record, digest = read_json(path / NAME, "train again"), complete_hash(path)
    assert digest is not None, "only a complete stage is done"
    after = {**record["weights_after"], **checkpoint.hashes(path / WEIGHTS)[0]}
    checkpoint.synchronise(path / WEIGHTS)
    write_json(path / NAME, {**record, "weights_after": after, "weights_files": checkpoint.stats(path / WEIGHTS)})
    write_text(path / DONE, digest + "\n")


def weights_stats(path: Path) -> dict[str, Stat]:
    """Give size, time and inode of a finished stage's weights files when they were written; nothing where none are recorded.

    Raises:
        RunError: the stage's record is missing or damaged.
    """
    found = read(path.parent, path.name).get("weights_files")
    return found if isinstance(found, dict) else {}


def move_previous(folder: Path, name: str) -> None:
    """Take the name of the stage that is replaced."""
    remove(_previous(folder, name))
    (folder / name).rename(_previous(folder, name))


def take_name(folder: Path, name: str) -> None:
    """Give a complete stage its name."""
    partial_folder(folder, name).rename(folder / name)


def repair(folder: Path, name: str, wanted: str) -> None:
    """Bring into order what a kill left: a complete stage is taken up, an old one put back, the rest removed.

    Args:
        wanted: hash of what decides the stage's weights now; a complete one of other settings is taken up only where there
            is none in its place.

    Raises:
        RunError: the disk refuses.
    """
    final, previous, found = folder / name, _previous(folder, name), _verified_hash(partial_folder(folder, name))
    there = os.path.lexists(final)
    if found is not None and (found == wanted or not there):
        publish(folder, name)
    elif os.path.lexists(previous) and not there:
        with disk_errors(final):
            previous.rename(final)
    elif there and not final.is_symlink() and not os.path.lexists(final / DONE) and _verified_hash(final) is not None:
        mark_done(final)
    remove(previous)


def check_ours(folder: Path, name: str) -> None:
    """Raise RunError if what has a stage's name is not a stage of ours: it shall not be replaced."""
    final = folder / name
    if os.path.lexists(final) and not final.is_symlink() and not any(os.path.lexists(final / file) for file in (DONE, NAME)):
        raise RunError(f"{final} is there but is not a finished stage; choose another folder with run=PATH.")


def remove(path: Path) -> None:
    """Remove a folder, or a link to one but not what it points to; nothing if there is none."""
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


def identity(folder: Path, name: str) -> str:
    """Give what distinguishes a stage from one that was trained in its place later; "" where nothing is to be read."""
    try:
        found: dict[str, Any] = read_json(folder / name / NAME, "train again")
    except RunError:
        return ""
    return str(found.get("finished"))


def _previous(folder: Path, name: str) -> Path:
    return folder / f".{name}.before"
