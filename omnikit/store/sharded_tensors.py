"""Tensors that several processes hold in shards, in one folder: each process writes and reads its own (torch's DCP).

    .metadata         which file holds which shard of which tensor; plain data, as nothing else is unpickled
    __1_0.distcp      the shards of process 1

Written by N processes, read by any number of them.
"""

import io
import pickle
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from omnikit.errors import RunError
from omnikit.store.files import disk_errors
from omnikit.store.training_checkpoint import ADVICE, METADATA

DATACLASSES = ("torch.distributed.checkpoint.metadata", "torch.distributed.checkpoint.filesystem")  # modules of nothing else
OTHERS = {("torch", "Size"), ("torch.serialization", "_get_layout"), ("pathlib", "PosixPath")}


def write(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors of all processes, which call this together; of a tensor that all hold one writes it.

    Raises:
        RunError: the disk refuses.
    """
    with _disk_errors(folder):
        save(dict(tensors), storage_writer=FileSystemWriter(folder, single_file_per_rank=True, sync_files=True))


def read(folder: Path, into: Mapping[str, Tensor]) -> None:
    """Put stored numbers into tensors of the same shapes, whole ones or shards; each process for itself.

    Raises:
        RunError: a file is missing or damaged.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it reads without the other processes, which is meant
            load(dict(into), storage_reader=_Reader(folder), no_dist=True)
    except (CheckpointException, OSError, RuntimeError, pickle.UnpicklingError) as error:
        raise RunError(f"{folder} cannot be read ({_first_line(error)}); {ADVICE}.") from error


def shapes(folder: Path) -> dict[str, tuple[torch.Size, torch.dtype]]:
    """Give name → shape and dtype of the whole tensors.

    Raises:
        RunError: the folder's .metadata is missing or damaged.
    """
    try:
        found = _Reader(folder).read_metadata().state_dict_metadata
    except (OSError, EOFError, pickle.UnpicklingError) as error:
        raise RunError(f"{folder / METADATA} cannot be read ({_first_line(error)}); {ADVICE}.") from error
    return {name: (each.size, each.properties.dtype) for name, each in found.items() if isinstance(each, TensorStorageMetadata)}


def files_of(folder: Path, rank: int) -> list[Path]:
    """Give the files that a process has written."""
    return [*sorted(folder.glob(f"__{rank}_*.distcp")), *([folder / METADATA] if rank == 0 else [])]


class _Reader(FileSystemReader):
    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """Read .metadata, and run no code that somebody put there."""
        with (Path(str(self.path)) / METADATA).open("rb") as file:
            return cast(Metadata, _PlainUnpickler(io.BytesIO(file.read())).load())


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        is_dtype = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
        if is_dtype or module in DATACLASSES or (module, name) in OTHERS:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it holds {module}.{name}, which is not data of a checkpoint")


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    """Turn what the disk answered some process into one sentence."""
    with disk_errors(folder):
        try:
            yield
        except CheckpointException as error:
            cause = next((found for found, _ in error.failures.values() if isinstance(found, OSError)), None)
            raise cause or error from error


def _first_line(error: BaseException) -> str:
    if isinstance(error, CheckpointException):
        return _first_line(next(iter(error.failures.values()))[0])
    return (str(error).splitlines() or [type(error).__name__])[0]
