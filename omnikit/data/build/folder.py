"""The folder of a dataset while it is built: its options, what is done, and files that appear whole or not at all.

`.build` holds what only the builder reads: identity.json, the journals of finished work, and the lock.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from omnikit.errors import DataError, RunError
from omnikit.store.files import atomic_file
from omnikit.store.locks import hold

BUILD_STATE = ".build"
REFUSED = "{} cannot be written ({}); free some space or name another folder."


class EmptyDatasetError(DataError):
    """A build ended without a row; its folder is free for another."""


class Journal:
    """Lines of JSON that are only appended; a line that a kill cut short is dropped when the file is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        complete = path.read_bytes().rpartition(b"\n")[0] if path.exists() else b""
        self.entries: list[dict[str, object]] = [json.loads(line) for line in complete.splitlines()]
        self._file = path.open("r+b" if path.exists() else "wb")
        self._file.seek(len(complete) + bool(complete))
        self._file.truncate()

    def add(self, entry: Mapping[str, object]) -> None:
        with write_errors(self.path):
            self._file.write(json.dumps(entry).encode() + b"\n")
            self._file.flush()

    def close(self) -> None:
        self._file.close()


@contextmanager
def build_folder(folder: Path, identity: Mapping[str, object]) -> Iterator[None]:
    """Hold a folder for one build: made if need be, ours, of the same options, and nobody else's meanwhile.

    Raises:
        RunError: the folder holds something else, was built otherwise, is being built, or cannot be written.
    """
    own = folder / BUILD_STATE
    if folder.exists() and not own.is_dir() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunError(f"out is {folder}, which exists and is not a dataset that was built; name a new folder.")
    with write_errors(folder):
        own.mkdir(parents=True, exist_ok=True)
    with hold(own / "lock", f"{folder} is being built", "wait for it, or name another folder"):
        _check(folder, own / "identity.json", identity)
        with write_errors(folder):
            for half in [*folder.glob(".*.part"), *folder.glob("audio/.*.part")]:
                half.unlink(missing_ok=True)
            (folder / "audio").mkdir(exist_ok=True)
        try:
            yield
        except EmptyDatasetError:
            (own / "identity.json").unlink(missing_ok=True)
            raise


def write(path: Path, text: str) -> str:
    """Write a file that appears whole or not at all; gives its SHA-256."""
    data = text.encode()
    with atomic_file(path, REFUSED) as part:
        part.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


@contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Turn what the disk refuses into a sentence."""
    try:
        yield
    except OSError as error:
        raise RunError(REFUSED.format(path, error.strerror or error)) from error


def _check(folder: Path, path: Path, identity: Mapping[str, object]) -> None:
    """Compare with what an earlier call built there, or write it down."""
    now = json.dumps(identity, indent=1, sort_keys=True) + "\n"
    if not path.exists():
        with write_errors(folder):  # what a build without a row left
            for file in [*path.parent.glob("*.jsonl"), *folder.glob("audio/*.wav")]:
                file.unlink()
        write(path, now)
        return
    before = path.read_text(encoding="utf-8")
    if before == now:
        return
    old, new = _flatten(json.loads(before)), _flatten(json.loads(now))
    key = next(key for key in sorted({*old, *new}) if old.get(key) != new.get(key))
    raise RunError(f"{folder} was built with {key} {old.get(key)}, but it is {new.get(key)} now; name another folder, or remove"
                   " this one to build it from scratch.")


def _flatten(values: Mapping[str, object], above: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in values.items():
        found |= _flatten(value, f"{above}{key}.") if isinstance(value, Mapping) else {f"{above}{key}": value}
    return found
