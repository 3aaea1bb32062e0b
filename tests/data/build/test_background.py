"""Recordings made meanwhile by another process: the same files, and no process is left behind."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from omnikit_spoken_qa.config import SpokenQA

from omnikit.data.build import background, recordings
from omnikit.data.build.background import recording


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OMNIKIT_CACHE", str(tmp_path))
    return tmp_path


def shards(cache: Path) -> list[Path]:
    return sorted(cache.glob("spoken_qa/*/*/samples.npy"))


def wait_for(what: object, seconds: float = 60.0) -> None:
    """Wait until a call gives something true."""
    assert callable(what)
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.05)


def test_recordings_are_made_meanwhile_and_are_those_that_the_dataset_makes_itself(cache: Path, tmp_path: Path,
                                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    with recording([SpokenQA(size=6)]):
        wait_for(lambda: shards(cache))
    with monkeypatch.context() as patch:
        patch.setattr(recordings, "_make", None)  # nothing is left to make
        found = SpokenQA(size=6).build()[0].messages[0].content[0].audio
    monkeypatch.setenv("OMNIKIT_CACHE", str(tmp_path / "other"))
    own = SpokenQA(size=6).build()[0].messages[0].content[0].audio
    assert found is not None and own is not None and found.tolist() == own.tolist()
    assert shards(cache)[0].read_bytes() == shards(tmp_path / "other")[0].read_bytes()


@dataclass(frozen=True)
class Silent:
    """A dataset that synthesises nothing, and must not be built beforehand."""

    path: str = ""
    seconds = None
    provides = ()

    def build(self) -> object:
        raise AssertionError("it was built")


def test_datasets_that_record_nothing_start_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "_start", None)
    with recording([SpokenQA(view="text"), Silent()]):  # type: ignore[list-item]  # enough of a reader
        pass


def test_the_process_ends_with_the_work_and_an_unfinished_shard_counts_for_nothing(cache: Path) -> None:
    before = set(children())
    with recording([SpokenQA(size=4000)]):
        wait_for(lambda: list(cache.glob("spoken_qa/*/.*.partial/*.jobs")))
        assert set(children()) - before
    wait_for(lambda: not set(children()) - before)
    assert not shards(cache)
    assert len(SpokenQA(size=6).build()) == 6


def test_the_process_ends_when_the_one_that_started_it_is_killed(cache: Path) -> None:
    program = ("import time; from omnikit_spoken_qa.config import SpokenQA\n"
               "from omnikit.data.build.background import recording\n"
               "with recording([SpokenQA(size=4000)]): print(1, flush=True); time.sleep(600)")
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    wait_for(lambda: list(cache.glob("spoken_qa/*/.*.partial/*.jobs")))
    started = [pid for pid in children(parent.pid) if pid != os.getpid()]
    assert started
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_for(lambda: not any(is_running(pid) for pid in started))


def children(parent: int = os.getpid()) -> list[int]:
    """Give the processes that one has started."""
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def is_running(pid: int) -> bool:
    """Say whether a process is there and has not ended; one that nobody waited for counts as ended."""
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"
