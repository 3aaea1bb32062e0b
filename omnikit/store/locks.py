"""A lock keeps a second process out of a folder while the first one writes there. Reading needs none.

It is the system's own lock on a file, which ends with the process however that ends; the file states who holds it and since
when. Independent of what is written.
"""

import errno
import fcntl
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from pathlib import Path

from omnikit.errors import RunError

log = logging.getLogger(__name__)
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL)  # of file systems without locks
_open: set[int] = set()  # descriptors of the locks that this process holds


@dataclass(frozen=True)
class Holder:
    """Who holds a lock.

    Args:
        since: local time with its offset, to the second.
        inode: of the lock's file: what is written in a copy of it holds nothing.
    """

    pid: int
    host: str
    since: str
    inode: int

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since}"


@contextmanager
def hold(path: Path, doing: str, advice: str, *, wait: bool = False) -> Iterator[None]:
    """Hold a lock, whose file is there as long.

    Args:
        doing: what is done meanwhile, "run/x is being trained"; begins the sentence for those who come second.
        advice: ends it.
        wait: wait for whoever holds it, instead of the sentence.

    Raises:
        RunError: another process holds it, or its file cannot be written.
    """
    _leave_to_the_parent()
    try:
        descriptor = _locked(path, doing, advice, wait)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror or error}; make room or choose another folder.") from error
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)  # still locked: nobody can have acquired it in between
        _open.discard(descriptor)
        os.close(descriptor)


def holder(path: Path) -> str | None:
    """Give who holds a lock now, in words; None where nobody does."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        found = _holder(descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return str(found or "another process")
        except OSError:  # no locks here: what is written counts
            return str(found) if found and _is_here(found) and _is_alive(found.pid) else None
        return None if found is None or _is_here(found) else str(found)
    finally:
        os.close(descriptor)


def _locked(path: Path, doing: str, advice: str, wait: bool) -> int:
    """Open and lock the file; once more if whoever held it removed it meanwhile."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            _lock(descriptor, path, doing, advice, wait)
            if not _is_at(path, descriptor):
                os.close(descriptor)
                continue
            text = json.dumps(asdict(_self(descriptor))).encode()
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, text + b"\n", 0)
        except BaseException:
            os.close(descriptor)
            raise
        _open.add(descriptor)
        return descriptor


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False


def _lock(descriptor: int, path: Path, doing: str, advice: str, wait: bool) -> None:
    try:
        acquired = _try(descriptor)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        holder = _holder(descriptor)
        acquired = holder is None or not _is_here(holder) or not _is_alive(holder.pid)
    if not acquired and not wait:
        raise RunError(f"{doing} by {_holder(descriptor) or 'another process'}; {advice}.")
    if not acquired:
        log.warning("%s by %s; waiting for it to end.", doing, _holder(descriptor) or "another process")
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return
    holder = _holder(descriptor)
    if holder and not _is_here(holder):  # some network file systems lock within one host only
        raise RunError(f"{doing} by {holder}, which cannot be asked from here; if it has ended, remove {path}.")


def _try(descriptor: int) -> bool:
    """Lock if nobody holds it; for a second more where its holder wrote nothing yet, or is gone and its workers end."""
    for _ in range(20):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(descriptor)
            if holder and not (_is_here(holder) and not _is_alive(holder.pid)):
                return False
            time.sleep(0.05)
        else:
            return True
    return False


def _self(descriptor: int) -> Holder:
    now = datetime.now().astimezone().isoformat(" ", "seconds")
    return Holder(os.getpid(), socket.gethostname(), now, os.fstat(descriptor).st_ino)


def _holder(descriptor: int) -> Holder | None:
    """Give whoever wrote into the file; None where it holds nothing, something else, or is a copy."""
    try:
        found = Holder(**json.loads(os.pread(descriptor, 10_000, 0)))
    except (ValueError, TypeError):
        return None
    return found if found.inode == os.fstat(descriptor).st_ino else None


def _is_here(holder: Holder) -> bool:
    return holder.host == socket.gethostname()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


@cache
def _leave_to_the_parent() -> None:
    """Close locks in forked processes: one that outlives its parent, as workers do for seconds, would go on holding them."""
    os.register_at_fork(after_in_child=_forget)


def _forget() -> None:
    while _open:
        os.close(_open.pop())
