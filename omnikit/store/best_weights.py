"""The weights of a stage that were best on held-out rows, by their step, beside its checkpoints. Does not decide which."""

import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

from omnikit.contracts.types import LazyTensor
from omnikit.store.files import disk_errors
from omnikit.store.safetensors_writer import write_plain
from omnikit.store.tensors import safetensors_file

FOLDER = "best"
ADVICE = "begin the stage from scratch with --restart"


def write(stage: Path, step: int, tensors: Mapping[str, LazyTensor]) -> None:
    """Write what is trained as it is at a step, complete or not at all.

    Raises:
        RunError: the disk refuses.
    """
    final = stage / FOLDER / f"{step:08}.safetensors"
    partial = final.with_name(f".{final.name}.part")
    with disk_errors(final):
        final.parent.mkdir(exist_ok=True)
        partial.unlink(missing_ok=True)
        write_plain(partial, tensors, lambda _: None)
        partial.replace(final)


def read(stage: Path, step: int) -> dict[str, LazyTensor]:
    """Give name → tensor of a step, to be read one by one.

    Raises:
        RunError: they are not there, or damaged.
    """
    file = stage / FOLDER / f"{step:08}.safetensors"
    return safetensors_file(file, ADVICE)


def prune(stage: Path, steps: Collection[int]) -> None:
    """Remove those of other steps."""
    for file in (stage / FOLDER).glob("*.safetensors"):
        if int(file.stem) not in steps:
            file.unlink()


def copy(source: Path, stage: Path) -> None:
    """Copy all of them from one stage's folder to another's; nothing where there are none."""
    if (source / FOLDER).is_dir():
        shutil.copytree(source / FOLDER, stage / FOLDER)
