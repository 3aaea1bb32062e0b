"""The cache of recordings: what is damaged is made again, with a sentence; two processes make it once; others may read it."""

import json
import logging
import multiprocessing
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from omnikit.data.build.recordings import Recordings, Utterance, record
from omnikit.errors import DataError

UTTERANCES = [Utterance("two", "en", 175, 50), Utterance("three", "en", 175, 50)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMNIKIT_CACHE", str(folder))
        recorded()
    return folder


@pytest.fixture
def shard(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the cache's only shard, where it is looked for."""
    shutil.copytree(made, tmp_path / "cache")
    monkeypatch.setenv("OMNIKIT_CACHE", str(tmp_path / "cache"))
    [names] = (tmp_path / "cache").glob("corpus/*/*/names.json")
    return names.parent


def recorded() -> Recordings:
    return record(UTTERANCES, "espeak", corpus="corpus", title="test", limit=5.0)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "checksums.json"}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def noise(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-50:-40] = bytes(10 * [77])
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("file", ["samples.npy", "bounds.npy", "names.json"])
@pytest.mark.parametrize("damage", [cut, noise, Path.unlink], ids=["cut", "noise", "gone"])
def test_damaged_shard_is_made_again(shard: Path, caplog: pytest.LogCaptureFixture, file: str,
                                     damage: Callable[[Path], None]) -> None:
    before = content(shard)
    damage(shard / file)
    with caplog.at_level(logging.WARNING):
        waveform = recorded()[UTTERANCES[1]]
    assert content(shard) == before
    assert np.array_equal(waveform, np.load(shard / "samples.npy")[-len(waveform):].astype(np.float32) / np.float32(32767))
    assert f"{shard} is damaged ({file} is " in caplog.text and "recorded again" in caplog.text


def test_damaged_checksums_are_made_again(shard: Path) -> None:
    (shard / "checksums.json").write_text("{")
    recorded()
    assert set(json.loads((shard / "checksums.json").read_text())) == {"samples.npy", "bounds.npy", "names.json"}


def test_touched_and_copied_shards_are_not_made_again(shard: Path, caplog: pytest.LogCaptureFixture) -> None:
    inode = shard.stat().st_ino
    for path in shard.iterdir():
        os.utime(path, (0, 0))
    assert len(recorded()[UTTERANCES[0]]) and shard.stat().st_ino == inode and not caplog.text


def test_two_processes_make_a_shard_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNIKIT_CACHE", str(tmp_path))
    processes = [multiprocessing.get_context("fork").Process(target=recorded) for _ in range(2)]
    [process.start() for process in processes]
    [process.join() for process in processes]
    assert [process.exitcode for process in processes] == [0, 0]
    [store] = tmp_path.glob("corpus/*")
    assert len(list(store.iterdir())) == 1


def test_others_may_read_the_cache(made: Path) -> None:
    before = os.umask(0)
    os.umask(before)
    found = list(made.rglob("*"))
    assert {path.stat().st_mode & 0o777 for path in found if path.is_dir()} == {0o777 & ~before}
    assert {path.stat().st_mode & 0o777 for path in found if path.is_file()} == {0o666 & ~before}


def test_cache_that_cannot_be_written_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("OMNIKIT_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"^corpus cannot be recorded in \S+: Not a directory; free some space there or set"):
        recorded()
