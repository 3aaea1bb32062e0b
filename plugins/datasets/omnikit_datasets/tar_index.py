"""Where each file of a tar shard lies. Reads headers only; the index is stored in the cache folder and made again when the
shard changes.

A sample is what follows one another under one name up to the first dot: 0001.jpg and 0001.json (WebDataset's convention).
"""

import hashlib
import json
import os
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from omnikit.errors import DataError
from omnikit.paths import cache_folder
from omnikit.store.files import atomic_file

VERSION = 2
COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")


@dataclass(frozen=True)
class ShardIndex:
    """Files of one shard.

    Args:
        keys: names of its samples.
        starts: [samples + 1] of each sample the first of its files.
        extensions: of each file, in lower case.
        offsets, sizes: [files] of each file's content in the shard.
        facts: of the shard when it was read, see `shard_facts`.
    """

    keys: list[str]
    starts: NDArray[np.int64]
    extensions: list[str]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    facts: tuple[int, ...]


def shard_facts(status: os.stat_result) -> tuple[int, ...]:
    """Give what changes when a shard is written again: its size and times."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def shard_index(shard: Path) -> ShardIndex:
    """Give the index of a shard.

    Raises:
        DataError: it is missing, compressed, cut short or not a tar.
    """
    if not shard.is_file():
        raise DataError(f"{shard} does not exist, but should be a tar shard; fix `path`.", kind="missing file")
    name = hashlib.sha256(json.dumps([VERSION, str(shard.absolute())]).encode()).hexdigest()
    stored = cache_folder() / "tar_index" / f"{name[:32]}.json"
    found = _stored(stored, shard_facts(shard.stat()))
    if found is None:
        found = _scan(shard)
        stored.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(stored) as part:
            part.write_text(json.dumps([found.facts, found.keys, found.starts.tolist(), found.extensions,
                                        found.offsets.tolist(), found.sizes.tolist()]), encoding="utf-8")
    return found


def _stored(file: Path, facts: tuple[int, ...]) -> ShardIndex | None:
    """Give the index that a file holds; None where it is of another shard, or damaged: it is made again."""
    try:
        before, keys, starts, extensions, offsets, sizes = json.loads(file.read_text(encoding="utf-8"))
        numbers = [np.array(values, dtype=np.int64) for values in (starts, offsets, sizes)]
        whole = [len(keys) + 1, len(extensions), len(extensions)] == [values.size for values in numbers]
    except (OSError, ValueError, TypeError, OverflowError):
        return None
    if tuple(before) != facts or not whole or numbers[0][-1] != len(extensions):
        return None
    return ShardIndex(keys, numbers[0], extensions, numbers[1], numbers[2], facts)


def _scan(shard: Path) -> ShardIndex:
    keys: list[str] = []
    starts: list[int] = []
    files: list[tuple[str, int, int]] = []
    try:
        with shard.open("rb") as stream:
            facts = shard_facts(os.fstat(stream.fileno()))
            if stream.read(6).startswith(COMPRESSED):
                raise DataError(f"{shard} is compressed, so that no file in it can be read alone; unpack it to a plain .tar"
                                " (gunzip).", kind="compressed shard")
            stream.seek(0)
            with tarfile.open(fileobj=stream, mode="r:") as tar:
                for member in tar:
                    folder, _, base = member.name.rpartition("/")
                    key, dot, extension = base.partition(".")
                    if not member.isreg() or not dot or not key or base.startswith("."):
                        continue
                    full = f"{folder}/{key}" if folder else key
                    if not keys or keys[-1] != full:
                        keys.append(full)
                        starts.append(len(files))
                    files.append((extension.lower(), member.offset_data, member.size))
    except (tarfile.TarError, EOFError) as error:
        raise DataError(f"{shard} is not a readable tar ({error}); write or copy it again.", kind="damaged shard") from None
    size = facts[0]
    if files and files[-1][1] + files[-1][2] > size:
        raise DataError(f"{shard} is cut short: its last file ends at byte {files[-1][1] + files[-1][2]}, but there are {size};"
                        " copy it again.", kind="damaged shard")
    return ShardIndex(keys, np.array([*starts, len(files)]), [name for name, _, _ in files],
                      np.array([offset for _, offset, _ in files], dtype=np.int64),
                      np.array([length for _, _, length in files], dtype=np.int64), facts)
