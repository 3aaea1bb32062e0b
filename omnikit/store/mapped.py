"""Tensors whose numbers lie in a file that has no name any more: the system reads them, and drops them again, as it needs.

So a process can hold a model that is larger than its memory. The disk's room is reserved first, and free again at the end.
"""

import os
from pathlib import Path
from tempfile import NamedTemporaryFile

import torch
from torch import Tensor

from omnikit.store.files import disk_errors

SMALLEST = 2**20  # bytes; less stays in memory


def on_disk(tensor: Tensor, folder: Path) -> Tensor:
    """Give a copy of a tensor, on the CPU, in a file in a folder; a small one in memory.

    Raises:
        RunError: the disk refuses.
    """
    if tensor.nbytes < SMALLEST:
        return tensor.cpu().clone()
    with disk_errors(folder), NamedTemporaryFile(dir=folder, prefix=".mapped.") as file:
        os.posix_fallocate(file.fileno(), 0, tensor.nbytes)  # a full disk is an error here, and would be a signal later
        found = torch.from_file(file.name, shared=True, size=tensor.numel(), dtype=tensor.dtype)
    return found.view(tensor.shape).copy_(tensor)


def is_on_disk(tensor: Tensor) -> bool:
    """Say whether `on_disk` has put a tensor into a file."""
    return tensor.untyped_storage().filename is not None


def cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Give a tensor in another dtype, in a file again if it lies in one; raises RunError where the disk refuses."""
    found, name = tensor.to(dtype), tensor.untyped_storage().filename
    return found if name is None or found is tensor else on_disk(found, Path(name).parent)
