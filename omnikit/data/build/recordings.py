"""Synthesised utterances: each made once, by two worker processes, cached on disk, read as memory maps.

A store is one folder for one corpus, text-to-speech and version; each time some utterances are missing, one more shard is added
to it: `samples.npy` (int16, all recordings one after another), `bounds.npy` (where each begins, and the end) and `names.json`
(the hash of each utterance). A shard is either complete or absent. Datasets with the same utterances share them. Reads no rows.
"""

import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import astuple, dataclass
from functools import cache
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from omnikit.errors import DataError, RunError
from omnikit.paths import cache_folder
from omnikit.progress import progress
from omnikit.registry import component
from omnikit.store.content import damage, seal
from omnikit.store.files import atomic_folder
from omnikit.store.locks import hold

log = logging.getLogger(__name__)

SAMPLE_RATE = 16000
WORKERS = 2
FORMAT = 1  # part of the store's name: change it when the files' layout changes
Location = tuple[int, int, int]  # shard, first sample, end


@dataclass(frozen=True)
class Utterance:
    """A text to synthesise: with a voice, words per minute, pitch 0 to 100."""

    text: str
    voice: str
    speed: int = 175
    pitch: int = 50


class Recordings:
    """Owns the locations of some utterances in a store; gives each one's waveform."""

    def __init__(self, shards: Sequence[Path], locations: dict[str, Location]) -> None:
        self._shards = list(shards)
        self._locations = locations
        self._open: dict[int, NDArray[np.int16]] = {}

    def __getitem__(self, utterance: Utterance) -> NDArray[np.float32]:
        """Give waveform [N] in [-1, 1]."""
        shard, start, end = self._locations[_name(utterance)]
        if shard not in self._open:
            self._open[shard] = np.load(self._shards[shard] / "samples.npy", mmap_mode="r")
        return self._open[shard][start:end].astype(np.float32) / np.float32(32767)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_open": {}}  # a memory map would be pickled with all its samples

    def longest(self) -> float:
        """Give the seconds of the longest one."""
        return max((end - start for _, start, end in self._locations.values()), default=0) / SAMPLE_RATE


def record(utterances: Iterable[Utterance], tts: str, *, corpus: str, title: str, limit: float) -> Recordings:
    """Give the recordings of `utterances`, from the cache or made now.

    Args:
        utterances: what to synthesise, `tts`: the text-to-speech component.
        corpus: name of the store, and of the corpus in messages.
        title: of the progress bar.
        limit: no recording may be longer, in seconds.

    Raises:
        DataError: a recording is longer, the cache folder cannot be written, or its disk is full.
    """
    wanted = {_name(item): item for item in utterances}
    if not wanted:
        return Recordings([], {})
    version = json.dumps([FORMAT, tts, component("tts", tts)().build().version])
    store = cache_folder() / corpus / hashlib.sha256(version.encode()).hexdigest()[:16]
    shards, found = _stored(store)
    if not wanted.keys() <= found.keys():
        try:
            store.mkdir(parents=True, exist_ok=True)
            with hold(store / ".lock", f"{store} is being recorded", "wait for it", wait=True):
                shards, found = _stored(store)  # another process may have made them
                if missing := [item for name, item in wanted.items() if name not in found]:
                    _make(store, missing, tts, title)
        except (OSError, RunError) as error:
            reason = error if isinstance(error, OSError) else error.__cause__  # of a RunError: the system's own error
            raise DataError(
                f"{corpus} cannot be recorded in {store}: {getattr(reason, 'strerror', None) or error};"
                " free some space there or set OMNIKIT_CACHE to another folder."
            ) from error
        shards, found = _stored(store)
    recordings = Recordings(shards, {name: found[name] for name in wanted})
    longest = recordings.longest()
    if longest > limit:
        raise DataError(f"{corpus}: a recording of {tts} takes {longest:.1f} s, but the corpus allows {limit:.0f} s.")
    return recordings


@cache  # each row asks for it again
def _name(utterance: Utterance) -> str:
    return hashlib.sha256(json.dumps(astuple(utterance)).encode()).hexdigest()[:20]


def _stored(store: Path) -> tuple[list[Path], dict[str, Location]]:
    """Give the complete shards and where each utterance lies in them; a damaged one is left out, to be made again."""
    shards = sorted(path for path in store.glob("[!.]*") if path.is_dir() and not path.suffix and not _is_damaged(path))
    locations: dict[str, Location] = {}
    for index, shard in enumerate(shards):
        bounds = np.load(shard / "bounds.npy").tolist()
        names = json.loads((shard / "names.json").read_text())
        locations.update({name: (index, bounds[i], bounds[i + 1]) for i, name in enumerate(names)})
    return shards, locations


def _is_damaged(shard: Path) -> bool:
    if found := damage(shard):
        log.warning("%s is damaged (%s); what it held is recorded again.", shard, found)
    return bool(found)


def _make(store: Path, utterances: Sequence[Utterance], tts: str, title: str) -> None:
    """Write a shard, which appears when it is complete; one of that name is there only if it is damaged."""
    names = [_name(item) for item in utterances]
    for shard in store.glob("[!.]*"):
        if shard.is_dir() and damage(shard):
            shutil.rmtree(shard)
    with atomic_folder(store / hashlib.sha256("".join(names).encode()).hexdigest()[:20]) as work:
        parts = _speak(work, utterances, tts, title)
        lengths: list[list[int]] = [json.loads(part.with_suffix(".json").read_text()) for part in parts]
        np.save(work / "bounds.npy", np.cumsum([0, *chain.from_iterable(lengths)], dtype=np.int64))
        np.save(work / "samples.npy", np.concatenate([np.fromfile(part, np.int16) for part in parts]))
        (work / "names.json").write_text(json.dumps(names))
        for part in parts:
            for file in work.glob(f"{part.stem}.*"):
                file.unlink()
        seal(work)


def _speak(work: Path, utterances: Sequence[Utterance], tts: str, title: str) -> list[Path]:
    """Let each worker record a contiguous part; give the files in order."""
    size = -(-len(utterances) // WORKERS)
    jobs = [utterances[start : start + size] for start in range(0, len(utterances), size)]
    parts = [work / f"{index}.raw" for index in range(len(jobs))]
    done = 0
    with ExitStack() as stack:
        report = stack.enter_context(progress(title, stderr=True))
        workers = [stack.enter_context(_worker(part, items, tts)) for part, items in zip(parts, jobs, strict=True)]
        for worker in workers:
            assert worker.stdout is not None
            for line in worker.stdout:
                done += int(line)
                report(done / len(utterances))
        failed = [worker.wait() for worker in workers]
    if any(failed):
        raise OSError(f"a worker that records speech ended with code {max(failed)}")
    return parts


def _worker(part: Path, utterances: Sequence[Utterance], tts: str) -> "subprocess.Popen[str]":
    """Start a process for one part: espeak-ng is one per process, and the caller's main module is not imported."""
    jobs = part.with_suffix(".jobs")
    jobs.write_text(json.dumps([astuple(item) for item in utterances]))
    command = [sys.executable, "-m", "omnikit.data.build.recording_worker", str(jobs), str(part), tts]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
