"""Files and folders that appear complete or not at all, with the permissions that the umask gives."""

import errno
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from omnikit.errors import RunError
from omnikit.store.locks import hold

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR,
               errno.EEXIST, errno.ENOTEMPTY, errno.ELOOP, errno.ENAMETOOLONG)


@contextmanager
def atomic_file(path: Path, sentence: str = "{} cannot be written: {}.") -> Iterator[Path]:
    """Give a name beside `path` to write to, which takes the name `path` in the end; whatever goes wrong leaves neither.

    Args:
        sentence: for what the disk refuses; takes the path and the reason.

    Raises:
        RunError: the disk refuses.
    """
    part = path.parent / f".{path.name}.{os.getpid()}.part"
    try:
        check_file(path)
        part.touch()
        mode = part.stat().st_mode & 0o777  # by the umask; some libraries write files of mode 600
        yield part
        if part.stat().st_mode & 0o777 != mode:
            part.chmod(mode)
        part.replace(path)
    except OSError as error:
        raise RunError(sentence.format(path, error.strerror or error)) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def check_file(path: Path) -> None:
    """Raise OSError where a name stands for something else than a file: a device or a pipe would be replaced by one."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if path.exists() and not path.is_file():
        raise OSError(errno.EEXIST, "it is a device or a pipe, not a file", str(path))


def write_text(path: Path, text: str) -> None:
    """Write a text file, complete or not at all.

    Raises:
        RunError: the disk refuses.
    """
    with atomic_file(path, "{} cannot be written: {}; make room or choose another folder.") as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write a JSON file that a person can read, complete or not at all; see write_text."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, default=str) + "\n")


def read_json(path: Path, advice: str) -> dict[str, Any]:
    """Give the mapping of a JSON file of ours.

    Args:
        advice: ends the sentence.

    Raises:
        RunError: the file is missing, cannot be read, or holds something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"{path} cannot be read ({error.strerror or error}); {advice}.") from error
    except (ValueError, RecursionError) as error:  # not UTF-8, or not JSON
        raise RunError(f"{path} cannot be read ({' '.join(str(error).split())}); {advice}.") from error
    if not isinstance(found, dict):
        raise RunError(f"{path} holds {type(found).__name__} {str(found)[:40]}, but must hold a mapping; {advice}.")
    return found


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full disk, a missing permission and an impossible path into one sentence; other errors pass."""
    number: int | None
    cause: OSError | SafetensorError
    try:
        yield
    except OSError as error:
        number, cause = error.errno, error
    except SafetensorError as error:  # safetensors wraps the system's error in its own words: "… (os error 28)"
        found = re.search(r"\(os error (\d+)\)", str(error))
        number, cause = int(found[1]) if found else None, error
    else:
        return
    if number not in DISK_ERRORS:
        raise cause
    reason = os.strerror(number)
    raise RunError(f"{path} cannot be written: {reason}; make room or choose another folder.") from cause


@contextmanager
def atomic_folder(out: Path) -> Iterator[Path]:
    """Give a folder to fill, which gets its name when all went well; one process at a time.

    Raises:
        RunError: the disk refuses, or another process fills it.
    """
    partial = out.with_name(f".{out.name}.partial")
    with disk_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    with hold(out.with_name(f".{out.name}.lock"), f"{out} is being written", "wait for it, or name another folder"):
        try:
            with disk_errors(out):
                shutil.rmtree(partial, ignore_errors=True)
                partial.mkdir()
                yield partial
                partial.rename(out)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
