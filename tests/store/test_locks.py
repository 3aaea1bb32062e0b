"""One process at a time: who comes second learns who is there, or waits; a lock whose process is gone holds nobody up."""

import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from omnikit.errors import RunError
from omnikit.store.locks import hold

HOLD = """
import os, sys
from pathlib import Path
from omnikit.store.locks import hold
with hold(Path(sys.argv[1]), "it is being trained", "wait"):
    child = os.fork() if sys.argv[2:] else 1  # as the workers that load data
    print(child, flush=True) if child else None
    sys.stdin.read() if child else __import__("time").sleep(60)
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / ".lock"


@pytest.fixture
def other(lock: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock until its standard input ends."""
    process = started(lock)
    yield process
    process.communicate("")


def started(lock: Path, *more: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(lock), *more], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               text=True)
    assert process.stdout is not None
    process.child = int(process.stdout.readline())  # type: ignore[attr-defined]  # for the tests
    return process


def test_second_process_learns_who_is_there_and_since_when(lock: Path, other: "subprocess.Popen[str]") -> None:
    before = datetime.now().astimezone()
    with pytest.raises(RunError) as caught, hold(lock, "run/x is being trained", "wait with --wait"):
        pass
    found = re.fullmatch(r"run/x is being trained by process (\d+) on (\S+) since (.+); wait with --wait\.", str(caught.value))
    assert found and (int(found[1]), found[2]) == (other.pid, socket.gethostname())
    assert abs((datetime.fromisoformat(found[3]) - before).total_seconds()) < 60


def test_lock_is_free_again_and_leaves_nothing(lock: Path) -> None:
    for _ in range(2):
        with hold(lock, "it is being trained", "wait"):
            assert json.loads(lock.read_text())["pid"] == os.getpid()
    assert list(lock.parent.iterdir()) == []


def test_lock_is_free_after_an_error(lock: Path) -> None:
    with pytest.raises(ValueError, match="bug"), hold(lock, "it is being trained", "wait"):
        raise ValueError("bug")
    with hold(lock, "it is being trained", "wait"):
        pass


@pytest.mark.parametrize("more", [(), ("fork",)], ids=["alone", "with a worker that lives on"])
def test_lock_of_a_killed_process_holds_nobody_up(lock: Path, more: tuple[str, ...]) -> None:
    killed = started(lock, *more)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert lock.exists()
    with hold(lock, "it is being trained", "wait"):
        assert json.loads(lock.read_text())["pid"] == os.getpid()
    [os.kill(killed.child, signal.SIGKILL) for _ in more]  # type: ignore[attr-defined]


def test_waiting_ends_when_the_lock_is_free(lock: Path, other: "subprocess.Popen[str]",
                                            caplog: pytest.LogCaptureFixture) -> None:
    held = threading.Event()

    def waiting() -> None:
        with hold(lock, "it is being trained", "wait", wait=True):
            held.set()

    thread = threading.Thread(target=waiting)
    with caplog.at_level(logging.WARNING):
        thread.start()
        early = held.wait(0.5)
        other.communicate("")
        thread.join(10)
    assert not early and held.is_set()
    assert re.search(rf"it is being trained by process {other.pid} on \S+ since .+; waiting for it to end\.", caplog.text)


def written(lock: Path, host: str, inode: int) -> None:
    lock.touch()
    lock.write_text(json.dumps({"pid": 1, "host": host, "since": "yesterday", "inode": inode or lock.stat().st_ino}))


def test_lock_of_another_host_is_respected(lock: Path) -> None:
    written(lock, "elsewhere", 0)
    with pytest.raises(RunError, match=r"by process 1 on elsewhere since yesterday, which cannot be asked from here; if it has"
                                       r" ended, remove .*\.lock\.$"), hold(lock, "it is being trained", "wait"):
        pass


@pytest.mark.parametrize("inode", [0, 1], ids=["this host, nobody there", "copied from another host"])
def test_stale_lock_is_recovered(lock: Path, inode: int) -> None:
    written(lock, ["elsewhere", socket.gethostname()][not inode], inode)
    with hold(lock, "it is being trained", "wait"):
        assert json.loads(lock.read_text())["pid"] == os.getpid()


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\x00", b'{"pid": 1}'])
def test_damaged_lock_is_recovered(lock: Path, content: bytes) -> None:
    lock.write_bytes(content)
    with hold(lock, "it is being trained", "wait"):
        assert json.loads(lock.read_text())["pid"] == os.getpid()


def test_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"file/\.lock cannot be written: Not a directory"), \
            hold(tmp_path / "file" / ".lock", "it is being trained", "wait"):
        pass
