"""Files that appear whole or not at all."""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from omnikit.errors import RunError


@contextmanager
def atomic_file(path: Path, sentence: str = "{} cannot be written: {}.") -> Iterator[Path]:
    """Give a name beside `path` to write to, which takes the name `path` in the end; whatever goes wrong leaves neither.

    Args:
        sentence: for what the disk refuses; takes the path and the reason.

    Raises:
        RunError: the disk refuses.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(path)
    except OSError as error:
        raise RunError(sentence.format(path, error.strerror or error)) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS,
           errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG)


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
    """Give a folder to fill, which gets its name when all went well."""
    partial = out.with_name(f".{out.name}.partial")
    try:
        with disk_errors(out):
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            yield partial
            partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
