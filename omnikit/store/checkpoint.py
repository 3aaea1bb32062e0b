"""Weights of whole parts in one safetensors file: written whole or not at all, read strictly or not at all.

The file's header holds, as JSON, the hash of each part in it (`trained`) and of each part that it was trained with
(`frozen`), so that a hand-over can be checked.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from omnikit.errors import RunError
from omnikit.store.files import disk_errors
from omnikit.store.hashes import distinct, tensors_hash, weights_hash


class Tensors(Protocol):
    """An open safetensors file: what we use of `safe_open`, whose methods have no types."""

    def keys(self) -> list[str]: ...

    def metadata(self) -> dict[str, str] | None: ...

    def get_tensor(self, name: str) -> Tensor: ...


def save(path: Path, parts: Mapping[str, nn.Module], frozen: Mapping[str, str]) -> None:
    """Write the weights of `parts`, with name → hash of the frozen parts.

    Raises:
        RunError: the disk is full or does not let us write; nothing is left behind.
    """
    tensors = {f"{part}.{name}": tensor.detach().cpu().contiguous()
               for part, module in parts.items() for name, tensor in distinct(module)}
    header = {"trained": json.dumps({part: weights_hash(module) for part, module in parts.items()}),
              "frozen": json.dumps(dict(frozen))}
    partial = path.with_name(f"{path.name}.partial")
    try:
        with disk_errors(path):
            save_file(tensors, partial, metadata=header)
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def load(path: Path, parts: Mapping[str, nn.Module], partly: Collection[str] = ()) -> None:
    """Fill modules with their weights from a file; what the file holds of other parts is left alone.

    Args:
        partly: parts whose module is a piece of the one that was written; the file's other tensors of theirs are only
            compared with what was written.

    Raises:
        RunError: the file is missing or cut short, or a tensor is missing, not expected, of another shape, or altered.
    """
    with _opened(path) as file:
        names = set(file.keys())
        trained, _ = _header(path, file.metadata())
        strays = [name for name in names if not any(name.startswith(f"{part}.") for part in trained)]
        if strays:
            raise RunError(f"{path} holds the tensor {min(strays)}, which belongs to none of its parts.")
        for part, module in parts.items():
            if part not in trained:
                raise RunError(f"{path} holds no weights of {part}, but only of {', '.join(trained)}.")
            _fill(path, file, part, module, names, whole=part not in partly)
            found = _stored_hash(file, part, names) if part in partly else weights_hash(module)
            if found != trained[part]:
                raise RunError(f"{path}: the weights of {part} have hash {found}, but {trained[part]} was"
                               " written; the file was altered, train the stage again.")


def hashes(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Give name → hash of the parts in a file, and of the frozen parts that they were trained with."""
    with _opened(path) as file:
        return _header(path, file.metadata())


def check_frozen(path: Path, found: Mapping[str, str], parts: Collection[str]) -> None:
    """Raise RunError if a part is not the one that the file's parts were trained with."""
    _, frozen = hashes(path)
    for part in parts:
        if part in frozen and part in found and frozen[part] != found[part]:
            raise RunError(f"{path} was trained beside {part} with weights of hash {frozen[part]}, but here they have"
                           f" {found[part]}; train the stages again in one run.")


def _stored_hash(file: Tensors, part: str, names: set[str]) -> str:
    """Give the hash of a whole part in a file, one tensor in memory at a time."""
    stored = sorted(name for name in names if name.startswith(f"{part}."))
    return tensors_hash((name.removeprefix(f"{part}."), file.get_tensor(name)) for name in stored)


def _fill(path: Path, file: Tensors, part: str, module: nn.Module, names: set[str], *, whole: bool) -> None:
    wanted = dict(distinct(module))
    there = {name.removeprefix(f"{part}.") for name in names if name.startswith(f"{part}.")}
    for what, some in (("lacks", set(wanted) - there), ("holds but the model lacks", there - set(wanted) if whole else set())):
        if some:
            raise RunError(f"{path} {what} the tensor {part}.{min(some)} ({len(some)} such); the recipe and the run differ.")
    with torch.no_grad():
        for name, tensor in wanted.items():
            stored: Tensor = file.get_tensor(f"{part}.{name}")
            if stored.shape != tensor.shape:
                raise RunError(f"{path}: {part}.{name} has shape {tuple(stored.shape)}, but the model has"
                               f" {tuple(tensor.shape)}; the recipe and the run differ.")
            tensor.copy_(stored)


@contextmanager
def _opened(path: Path) -> Iterator[Tensors]:
    if not path.is_file():
        raise RunError(f"{path} is missing; train its stage first.")
    try:
        file = safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise RunError(f"{path} is not a whole safetensors file ({error}); train its stage again.") from error
    with file as opened:
        yield cast(Tensors, opened)


def _header(path: Path, metadata: Mapping[str, str] | None) -> tuple[dict[str, str], dict[str, str]]:
    try:
        header = metadata or {}
        return json.loads(header["trained"]), json.loads(header["frozen"])
    except (KeyError, ValueError) as error:
        raise RunError(f"{path} was not written by omnikit: its header does not say which parts it holds.") from error
