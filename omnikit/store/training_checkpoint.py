"""Checkpoints inside a stage: all that training needs to go on, in folders that are complete or passed over.

    checkpoints/00000070/weights.safetensors   what is trained, and its buffers, as they are while it is trained
    checkpoints/00000070/state.pt              optimizer, schedule, random generators, sums of metrics; holds no code
    checkpoints/00000070/checkpoint.json       step, time, what the stage is made of; size and CRC-32 of the others

Where processes hold shards, each writes its own: .metadata and __RANK_0.distcp instead of weights.safetensors, and the
optimizer's tensors among them. Does not decide what a checkpoint holds, nor when one is written.
"""

import json
import logging
import os
import pickle
import shutil
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from omnikit.contracts.types import LazyTensor
from omnikit.errors import RunError
from omnikit.store.files import disk_errors, read_json
from omnikit.store.safetensors_writer import write_plain
from omnikit.store.tensors import in_memory, safetensors_file

FOLDER, RECORD, TENSORS, STATE, STEPS = "checkpoints", "checkpoint.json", "weights.safetensors", "state.pt", "steps"
METADATA = ".metadata"  # of omnikit.store.sharded_tensors
ADVICE = "begin the stage from scratch with --restart"
BLOCK = 2**20  # bytes
Seals = dict[str, list[int]]  # file → its size and CRC-32
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingCheckpoint:
    """A complete checkpoint.

    Args:
        record: what checkpoint.json holds.
    """

    folder: Path
    step: int
    record: dict[str, Any]

    @property
    def stage_folder(self) -> Path:
        """The folder of the stage that it lies in."""
        return self.folder.parent.parent

    @property
    def is_sharded(self) -> bool:
        """Whether its tensors lie in shards, see omnikit.store.sharded_tensors."""
        return METADATA in self.record["files"]

    def tensors(self) -> dict[str, LazyTensor]:
        """Give name → tensor of one that is not sharded, to be read one by one."""
        return safetensors_file(self.folder / TENSORS, ADVICE)

    def state(self) -> dict[str, Any]:
        """Read what else it holds.

        Raises:
            RunError: it cannot be read.
        """
        try:
            found: dict[str, Any] = torch.load(self.folder / STATE, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, pickle.UnpicklingError) as error:
            raise RunError(f"{self.folder / STATE} cannot be read ({str(error).splitlines()[0]}); {ADVICE}.") from error
        return found


def write(stage: Path, record: Mapping[str, object], tensors: Mapping[str, Tensor], state: Mapping[str, object],
          keep: int) -> None:
    """Write the checkpoint of a step into a stage's folder, and remove all but the newest `keep`.

    Args:
        record: with `step`; what a person may read.

    Raises:
        RunError: the disk refuses; the checkpoints before are as they were.
    """
    with writing(stage, record, state, keep) as (folder, seals):
        write_plain(folder / TENSORS, {name: in_memory(name, folder, t) for name, t in tensors.items()}, lambda _: None)
        seals.update(sealed([folder / TENSORS]))


@contextmanager
def writing(stage: Path, record: Mapping[str, object], state: Mapping[str, object],
            keep: int) -> Iterator[tuple[Path, Seals]]:
    """Give a folder to write tensors into, and a mapping for their seals; all else of `write` follows.

    Raises:
        RunError: the disk refuses; the checkpoints before are as they were.
    """
    final = stage / FOLDER / f"{record['step']:08}"
    partial = final.with_name(f".{final.name}.part")
    with disk_errors(final):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            seals: Seals = {}
            yield partial, seals
            with (partial / STATE).open("wb") as file:
                torch.save(dict(state), file)
            files = {**seals, **sealed([partial / STATE])}
            now = datetime.now().astimezone().isoformat(" ", "seconds")
            (partial / RECORD).write_text(json.dumps({**record, "saved": now, "files": files}, indent=1, default=str) + "\n")
            sealed([partial / RECORD])
            shutil.rmtree(final, ignore_errors=True)  # of the same step, written by a call that was stopped behind it
            partial.rename(final)
            _sync(final.parent)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    prune(stage, keep)


def sealed(paths: Collection[Path]) -> Seals:
    """Wait until files are on the disk; give their sizes and CRC-32, by name."""
    for path in paths:
        _sync(path)
    return {path.name: [path.stat().st_size, _crc(path)] for path in paths}


def prune(stage: Path, keep: int) -> None:
    """Remove all checkpoints of a stage but the newest `keep`."""
    for folder in _folders(stage)[keep:]:
        shutil.rmtree(folder, ignore_errors=True)
    if keep == 0:
        shutil.rmtree(stage / FOLDER, ignore_errors=True)


def finish(stage: Path, keep: int) -> None:
    """Leave of a finished stage's checkpoints the one at its end, or none where none shall be kept."""
    prune(stage, min(keep, 1))
    (stage / STEPS).unlink(missing_ok=True)


def newest(stage: Path, *, complete: bool = True) -> TrainingCheckpoint | None:
    """Give the newest complete checkpoint of a stage; None where there is none. A damaged one is passed over with a warning.

    Args:
        complete: compare the files with what was written; False reads checkpoint.json alone.
    """
    for folder in _folders(stage):
        try:
            record = read_json(folder / RECORD, ADVICE)
            damage = _damage(folder, record) if complete else None
        except RunError as error:
            damage = str(error)
        if damage is None:
            return TrainingCheckpoint(folder, int(folder.name), record)
        if complete:
            log.warning("%s is damaged (%s); the checkpoint before it is taken.", folder, damage.rpartition("; ")[0] or damage)
    return None


def records(stage: Path) -> list[dict[str, Any]]:
    """Give what checkpoint.json holds of each checkpoint of a stage that has one."""
    return [read_json(folder / RECORD, ADVICE) for folder in _folders(stage) if (folder / RECORD).is_file()]


class StepCounter:
    """The number of the last finished step, in a file that outlives a killed process."""

    def __init__(self, stage: Path) -> None:
        self.file = os.open(stage / STEPS, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)

    def write(self, step: int) -> None:
        """Write a step's number."""
        os.pwrite(self.file, f"{step:12}\n".encode(), 0)

    def close(self) -> None:
        """Close the file."""
        os.close(self.file)


def last_step(stage: Path) -> int:
    """Give the number that a StepCounter wrote last; 0 where there is none."""
    try:
        return int((stage / STEPS).read_text())
    except (OSError, ValueError):
        return 0


def _folders(stage: Path) -> list[Path]:
    """Give the folders of a stage's checkpoints, the newest first."""
    return sorted((path for path in (stage / FOLDER).glob("[0-9]*") if path.name.isdigit()), reverse=True)


def _damage(folder: Path, record: Mapping[str, Any]) -> str | None:
    """Give in words what is damaged; None where a checkpoint is as it was written."""
    files = record.get("files")
    if not isinstance(files, dict) or STATE not in files or not {TENSORS, METADATA} & set(files):
        return f"{RECORD} does not name its files"
    for name, written in files.items():
        try:
            found = [(folder / name).stat().st_size, _crc(folder / name)]
        except OSError as error:
            return f"{name} cannot be read: {error.strerror}"
        if found != written:
            return f"{name} has size and CRC-32 {found}, but {written} were written"
    return None


def _crc(path: Path) -> int:
    crc = 0
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            crc = zlib.crc32(block, crc)
    return crc


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
