"""Features of rows on disk: computed once, read as memory maps, bounded in bytes. Uses no model.

A store is one folder for all rows of one point in one model. Each process adds shards (safetensors) that appear complete or not
at all and are never changed, so that any number of processes write and read without a lock; what two of them compute at the
same time lies there twice, equal. Rows that cannot be read, or that are not what their checksums say, are computed again.
"""

import json
import logging
import os
import shutil
import time
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from safetensors.torch import save_file
from torch import Tensor

from omnikit.contracts.types import LazyTensor
from omnikit.errors import RunError
from omnikit.store.files import atomic_file
from omnikit.store.hashes import tensor_bytes
from omnikit.store.tensors import metadata, safetensors_file

log = logging.getLogger(__name__)
SHARD = 64 << 20  # bytes of a shard
CHECKSUMS = "crc32"  # in the metadata of a shard: name → checksum of its tensor's bytes
LOOK_AGAIN = 10.0  # seconds between two looks for shards of other processes


class FeatureStore:
    """Owns one folder's shards and the rows that are not written yet.

    Args:
        folder: of this store; beside it lie other stores, all of which count towards the limit.
        limit: bytes that all stores take; the least recently used others go first, then new rows are not stored.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit
        self.full = False
        self._rows: dict[str, list[LazyTensor]] = {}
        self._new: dict[str, list[Tensor]] = {}
        self._checksums: dict[str, int] = {}  # of the tensors that were not read yet
        self._bytes = 0  # of the new ones
        self._opened: set[str] = set()
        self._looked = 0.0
        self._look()
        with suppress(OSError):
            os.utime(folder)

    def __len__(self) -> int:
        """Give the rows that can be read."""
        return len(self._rows.keys() | self._new.keys())

    def get(self, key: str) -> list[Tensor] | None:
        """Give the features of a row, one tensor for each of its signals or answers; None if they are not there."""
        if key in self._new:
            return self._new[key]
        if key not in self._rows and time.monotonic() - self._looked > LOOK_AGAIN:
            self._look()
        return self._read(key) if key in self._rows else None

    def _read(self, key: str) -> list[Tensor] | None:
        """Read a row; None where it is not what was written, which is looked at when it is read first."""
        found = [tensor.read() for tensor in self._rows[key]]
        for lazy, tensor in zip(self._rows[key], found, strict=True):
            expected = self._checksums.pop(lazy.name, None)
            if expected is not None and zlib.crc32(tensor_bytes(tensor)) != expected:
                log.warning("%s is damaged: a row in it is not what was written; it is computed again.", lazy.file)
                del self._rows[key]
                return None
        return found

    def put(self, key: str, features: Sequence[Tensor]) -> None:
        """Store the features of a row, on the CPU; those of a full store are forgotten.

        Raises:
            RunError: the disk refuses.
        """
        if self.full:
            return
        self._new[key] = [tensor.contiguous() for tensor in features]
        self._bytes += sum(tensor.nbytes for tensor in features)
        if self._bytes >= SHARD:
            self.flush()

    def flush(self) -> None:
        """Write what is new as one shard.

        Raises:
            RunError: the disk refuses.
        """
        if not self._new:
            return
        self.full = not make_room(self.folder, self._bytes, self.limit)
        if self.full:
            log.warning("Features take %.1f GiB in %s, which is the limit (trainer.cache_gib); rows beyond it are computed each"
                        " time.", self.limit / 2**30, self.folder.parent)
        else:
            self._write()
        self._new, self._bytes = {}, 0

    def _write(self) -> None:
        tensors = {f"{key}.{index}": tensor for key, row in self._new.items() for index, tensor in enumerate(row)}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{self.folder} cannot be written: {error.strerror or error}; free some space there, set"
                           " OMNIKIT_CACHE to another folder, or leave trainer.cache out.") from error
        shard = self.folder / f"{uuid4().hex}.safetensors"
        with atomic_file(shard, "{} cannot be written: {}; free some space there, set OMNIKIT_CACHE to another folder, or leave"
                                " trainer.cache out.") as part:
            sums = {name: zlib.crc32(tensor_bytes(tensor)) for name, tensor in tensors.items()}
            save_file(tensors, part, {CHECKSUMS: json.dumps(sums)})
        self._open(shard)

    def _look(self) -> None:
        """Open the shards that came since the last look."""
        self._looked = time.monotonic()
        for shard in sorted(self.folder.glob("[!.]*.safetensors")):
            if shard.name not in self._opened:
                self._open(shard)

    def _open(self, shard: Path) -> None:
        self._opened.add(shard.name)
        try:
            found = safetensors_file(shard)
            sums: dict[str, int] = json.loads(metadata(shard)[CHECKSUMS])
        except RunError as error:
            if shard.exists():
                log.warning("%s; its features are computed again.", error)
            return
        except (LookupError, ValueError):
            log.warning("%s has no checksums of its rows; its features are computed again.", shard)
            return
        found = {name: tensor for name, tensor in found.items() if name in sums}
        self._checksums |= sums
        rows: dict[str, list[LazyTensor]] = {}
        for name in sorted(found, key=lambda name: (name.partition(".")[0], int(name.partition(".")[2]))):
            rows.setdefault(name.partition(".")[0], []).append(found[name])
        self._rows |= rows


def make_room(folder: Path, size: int, limit: int) -> bool:
    """Remove the least recently used stores beside `folder` until it may grow by `size` bytes; say whether it may then."""
    sizes = {store: sum(file.stat().st_size for file in store.glob("*") if file.is_file())
             for store in folder.parent.glob("*") if store.is_dir()}
    others = sorted((store for store in sizes if store != folder), key=lambda store: store.stat().st_mtime)
    while sum(sizes.values()) + size > limit and others:
        oldest = others.pop(0)
        shutil.rmtree(oldest, ignore_errors=True)  # who reads it has it open, and reads on
        del sizes[oldest]
    return sum(sizes.values()) + size <= limit
