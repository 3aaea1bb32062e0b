"""Recordings of utterances: made once by two workers, kept under the cache folder by content, read as a memory map.

A set of utterances is one folder: `samples.npy` (int16, all recordings one after another) and `bounds.npy` (where each
begins, and the end). Its name is a hash of every text, voice, speed, pitch and of the TTS's version, so a folder is either
complete and right or absent. Knows nothing of questions and answers.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import astuple
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from omnikit.errors import DataError
from omnikit.paths import cache_folder
from omnikit.registry import component
from omnikit_spoken_qa.script import CodeIterator

WORKERS = 2
FORMAT = 1  # part of the hash: change it when the files' layout changes


class Recordings:
    """Owns a finished folder; gives each utterance's waveform."""

    def __init__(self, folder: Path) -> None:
        self._samples: NDArray[np.int16] = np.load(folder / "samples.npy", mmap_mode="r")
        self._bounds: NDArray[np.int64] = np.load(folder / "bounds.npy")

    def __len__(self) -> int:
        return len(self._bounds) - 1

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        """Give waveform [N] in [-1, 1]."""
        samples = self._samples[self._bounds[index] : self._bounds[index + 1]]
        return samples.astype(np.float32) / np.float32(32767)

    def seconds(self, sample_rate: int) -> float:
        """Give the length of the longest one."""
        return float(np.diff(self._bounds).max()) / sample_rate


def record(utterances: Sequence[CodeIterator], tts: str, title: str) -> Recordings:
    """Give the recordings of `utterances`, from the cache or made now.

    Raises:
        DataError: the cache folder cannot be written, or its disk is full.
    """
    key = json.dumps([FORMAT, tts, component("tts", tts)().build().version, [astuple(item) for item in utterances]])
    folder = cache_folder() / "spoken_qa" / hashlib.sha256(key.encode()).hexdigest()[:24]
    if not folder.exists():
        try:
            _make(folder, utterances, tts, title)
        except OSError as error:
            raise DataError(
                f"The corpus cannot be recorded in {folder.parent}: {error.strerror or error};"
                " free some space there or set OMNIKIT_CACHE to another folder."
            ) from error
    return Recordings(folder)


def _make(folder: Path, utterances: Sequence[CodeIterator], tts: str, title: str) -> None:
    """Write the folder under another name and rename it, so that a half-written one is never found."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    try:
        parts = _speak(work, utterances, tts, title)
        lengths: list[list[int]] = [json.loads(part.with_suffix(".json").read_text()) for part in parts]
        samples = np.concatenate([np.fromfile(part, np.int16) for part in parts])
        np.save(work / "bounds.npy", np.cumsum([0, *chain.from_iterable(lengths)], dtype=np.int64))
        np.save(work / "samples.npy", samples)
        for part in parts:
            part.unlink()
            part.with_suffix(".json").unlink()
        try:
            work.rename(folder)
        except OSError:
            if not folder.exists():  # otherwise another process was faster and made the same
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _speak(work: Path, utterances: Sequence[CodeIterator], tts: str, title: str) -> list[Path]:
    """Let each worker record a contiguous share; give the files in order."""
    share = -(-len(utterances) // WORKERS)
    shares = [utterances[start : start + share] for start in range(0, len(utterances), share)]
    parts = [work / f"{index}.raw" for index in range(len(shares))]
    console = Console(stderr=True)
    with ExitStack() as stack:
        progress = stack.enter_context(Progress(console=console, disable=not console.is_terminal))
        bar = progress.add_task(title, total=len(utterances))
        workers = [stack.enter_context(_worker(part, items, tts)) for part, items in zip(parts, shares, strict=True)]
        for worker in workers:
            assert worker.stdout is not None
            for line in worker.stdout:
                progress.advance(bar, int(line))
        failed = [worker.wait() for worker in workers]
    if any(failed):
        raise OSError(f"a worker that records speech ended with code {max(failed)}")
    return parts


def _worker(part: Path, utterances: Sequence[CodeIterator], tts: str) -> "subprocess.Popen[str]":
    """Start a process of its own for one share: espeak-ng is one per process, and the caller's main module stays out of it."""
    jobs = part.with_suffix(".jobs")
    jobs.write_text(json.dumps([astuple(item) for item in utterances]))
    command = [sys.executable, "-m", "omnikit_spoken_qa.worker", str(jobs), str(part), tts]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
