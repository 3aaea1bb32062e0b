"""Hashes of files by what they hold, not by when they were written, and folders that hold their own. Uses no run."""

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from omnikit.errors import RunError
from omnikit.store.files import read_json, write_json

SUMS = "checksums.json"

Stat = list[int]  # size, time of the last change in ns, inode


class FileHashes:
    """Owns path → hash; a file whose size, time and inode are as they were is not read again.

    Args:
        known: path → [size, time, inode, hash], as `record` gave it.
    """

    def __init__(self, known: Mapping[str, list[object]] | None = None) -> None:
        self.known = {path: facts for path, facts in (known or {}).items() if isinstance(facts, list) and len(facts) == 4}

    def of(self, paths: Iterable[Path]) -> dict[str, str]:
        """Give path → 16 hex digits of the files that are there.

        Raises:
            RunError: a file cannot be read.
        """
        return {str(path): self._hash(path) for path in sorted(set(paths)) if path.is_file()}

    def record(self) -> dict[str, list[object]]:
        """Give what a later process need not compute again."""
        return dict(self.known)

    def _hash(self, path: Path) -> str:
        seen = stat(path)
        if self.known.get(str(path), [])[:3] != seen:
            self.known[str(path)] = [*seen, _read(path)]
        return str(self.known[str(path)][3])


def stat(path: Path) -> Stat:
    """Give what changes with a file that is written, touched or copied: size, time of the last change in ns, inode."""
    found = path.stat()
    return [found.st_size, found.st_mtime_ns, found.st_ino]


def seal(folder: Path) -> None:
    """Write down what the files of a complete folder hold."""
    hashes = FileHashes()
    hashes.of(path for path in folder.iterdir() if path.name != SUMS)
    write_json(folder / SUMS, {Path(path).name: facts for path, facts in hashes.record().items()})


def damage(folder: Path) -> str:
    """Say what is wrong with a sealed folder, or give an empty string; one without seal gets it now.

    Raises:
        RunError: a file cannot be read.
    """
    if not (folder / SUMS).exists():
        seal(folder)
    try:
        record = read_json(folder / SUMS, "make the folder again")
        hashes = FileHashes({str(folder / name): list(facts) for name, facts in record.items()})
    except (RunError, TypeError):
        return f"{SUMS} cannot be read"
    before = hashes.record()
    found = hashes.of(folder / name for name in record)
    for name in record:
        path = str(folder / name)
        if path not in found or path not in before or found[path] != before[path][3]:
            return f"{name} {'is not what was written' if path in found else 'is missing'}"
    if hashes.record() != before:  # copied or touched: remember that, where the folder can be written
        with suppress(RunError):
            write_json(folder / SUMS, {Path(path).name: facts for path, facts in hashes.record().items()})
    return ""


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError as error:
        raise RunError(f"{path} cannot be read ({error.strerror or error}); copy it again.") from error
