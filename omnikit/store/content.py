"""Hashes of files by what they hold, not by when they were written. Uses no run."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from omnikit.errors import RunError

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
        stat = path.stat()
        seen: Stat = [stat.st_size, stat.st_mtime_ns, stat.st_ino]
        if self.known.get(str(path), [])[:3] != seen:
            self.known[str(path)] = [*seen, _read(path)]
        return str(self.known[str(path)][3])


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError as error:
        raise RunError(f"{path} cannot be read ({error.strerror or error}); copy it again.") from error
