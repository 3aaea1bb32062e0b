"""One way to load the bench's rows, in a process of its own: prints what it took as JSON.

    python benchmarks/data_path.py FOLDER WAY [START]

The clock begins when all is imported. A page of each tensor is read, so that no batch is ready before its memory is.
"""

import gc
import hashlib
import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
import torch
from data_path_loaders import WAYS, Plain, plain

from omnikit.contracts.types import Batch

PAGE = 4096


def measured(folder: Path, way: str, start: int) -> dict[str, object]:
    """Load all rows from `start` on.

    Returns:
        first: seconds until the first batch, rest: from then to the last, rows: of the batches behind the first, processor:
        seconds of this process and of its worker, megabytes: at most of both, ids: of all rows, digest: of the first batch.
    """
    began, used = time.perf_counter(), time.process_time()
    batches = WAYS[way](folder, start)
    batch = next(batches)
    pages(batch)
    first, first_used = time.perf_counter() - began, time.process_time() - used
    one = batch if isinstance(batch, dict) else plain(batch)
    found, ids = digest(one), list(one["ids"])
    counted = len(ids)
    before = time.perf_counter()
    for batch in batches:
        pages(batch)
        ids += batch["ids"] if isinstance(batch, dict) else batch.ids
    rest = time.perf_counter() - before
    used = time.process_time() - used
    del batches, batch
    gc.collect()  # ends the worker, whose time counts then
    worker = resource.getrusage(resource.RUSAGE_CHILDREN)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss + worker.ru_maxrss
    return {"first": first, "first_processor": first_used, "rest": rest, "rows": len(ids) - counted,
            "processor": used + worker.ru_utime + worker.ru_stime, "main": used, "megabytes": peak / 1024, "ids": ids,
            "digest": found}


def pages(batch: Batch | Plain) -> int:
    """Read a byte of each page of a batch's media."""
    tensors = ([batch["image"], batch["audio"]] if isinstance(batch, dict) else
               [signal.data for signal in batch.signals.values()])
    return sum(int(flat(tensor).view(torch.uint8)[::PAGE].sum()) for tensor in tensors)


def flat(tensor: torch.Tensor) -> torch.Tensor:
    """Give the elements of a tensor as they lie in memory; of images channels may lie last."""
    return tensor.flatten() if tensor.is_contiguous() else tensor.permute(0, 2, 3, 1).flatten()


def digest(batch: Plain) -> dict[str, str]:
    """Give a digest of each tensor of a batch, by its values and shape."""
    return {name: hashlib.sha256(repr(tensor.shape).encode() + np.ascontiguousarray(tensor.numpy()).tobytes()).hexdigest()[:16]
            for name, tensor in batch.items() if isinstance(tensor, torch.Tensor)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(measured(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 0)))
