"""Microphone and loudspeaker of a live conversation: what a device does, and files in its place."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from omnikit.data.media.audio import load_audio, save_audio
from omnikit.data.media.containers import DEFAULTS
from omnikit.inference.live.resampler import RATE, Samples
from omnikit.recipe.media import MediaLimits

PIECE = 512  # samples of a file that are read at once: 32 ms
TAIL_SECONDS = 2.0  # of silence behind a file and behind the last answer


class AudioDevice(Protocol):
    """A microphone and a loudspeaker."""

    @property
    def sample_rate(self) -> int:
        """Of the microphone, Hz."""

    def read(self, *, wait: bool) -> Samples | None:
        """Give the audio [N] since the last call; `wait`: waits until there is some. None: there is no more."""

    def write(self, waveform: Samples, sample_rate: int) -> None:
        """Play audio [N] behind what was written before."""

    def clear(self) -> None:
        """Drop what is not played."""

    def close(self) -> None:
        """Stop both."""


class PlayQueue:
    """Owns audio that waits for a loudspeaker; written and played in different threads."""

    def __init__(self) -> None:
        self._pieces: deque[Samples] = deque()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return sum(map(len, self._pieces))

    def put(self, waveform: Samples) -> None:
        """Put audio behind what waits."""
        with self._lock:
            self._pieces.append(waveform)

    def take(self, count: int) -> Samples:
        """Give the next samples [count], silence where there are none."""
        found, filled = np.zeros(count, dtype=np.float32), 0
        with self._lock:
            while self._pieces and filled < count:
                piece = self._pieces.popleft()
                part = piece[:count - filled]
                found[filled:filled + len(part)] = part
                filled += len(part)
                if len(part) < len(piece):
                    self._pieces.appendleft(piece[len(part):])
        return found

    def clear(self) -> None:
        """Drop all of it."""
        with self._lock:
            self._pieces.clear()


@dataclass(frozen=True)
class Clock:
    """The time of a device, in seconds."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


class FileDevice:
    """A file as the microphone, in real time, then silence until all is answered; what was played becomes a file.

    Args:
        audio: the file that is read.
        out: WAV of what was played, at each moment of the input; written by `close`. None: no file.

    Raises:
        OmnikitError: the file cannot be read.
    """

    sample_rate = RATE

    def __init__(self, audio: Path, out: Path | None, clock: Clock | None = None,
                 limits: MediaLimits = DEFAULTS) -> None:
        self._audio, self._out, self._clock = load_audio(audio, RATE, limits=limits), out, clock or Clock()
        self._queue, self._played = PlayQueue(), list[Samples]()
        self._start: float | None = None
        self._rate: int | None = None  # of the answers, Hz
        self._position = self._quiet = self._given = 0  # samples: of the input, of silence at its end, of the output

    def read(self, *, wait: bool) -> Samples | None:
        """See AudioDevice; ends where the file has ended, nobody waits for an answer and the last one was played."""
        if self._quiet >= TAIL_SECONDS * RATE:
            return None
        count = self._due()
        if wait and count < PIECE:
            self._clock.sleep((PIECE - count) / RATE)
            count = self._due()
        rest = len(self._queue)
        self._play(count)
        found = np.zeros(count, dtype=np.float32)
        part = self._audio[self._position:self._position + count]
        found[:len(part)] = part
        self._position += count
        self._quiet = self._quiet + count if wait and not rest and self._position > len(self._audio) else 0
        return found

    def write(self, waveform: Samples, sample_rate: int) -> None:
        """See AudioDevice."""
        if self._rate is None:
            self._rate = sample_rate
            self._play(0)  # the silence until here
        assert sample_rate == self._rate, "a model gives all its audio at one rate"
        self._queue.put(waveform)

    def clear(self) -> None:
        """See AudioDevice."""
        self._queue.clear()

    def close(self) -> None:
        """Write what was played; raises RunError where the file cannot be written."""
        if self._out is not None:
            self._rate = self._rate or RATE
            self._play(0)
            save_audio(self._out, np.concatenate(self._played), self._rate)

    def _due(self) -> int:
        """Give how many samples of the input have passed that were not given."""
        now = self._clock.now()
        self._start = now if self._start is None else self._start
        return max(round((now - self._start) * RATE) - self._position, 0)

    def _play(self, count: int) -> None:
        """Let the loudspeaker run as long as the input, from the first answer on."""
        if self._rate is None:
            return
        end = (self._position + count) * self._rate // RATE
        self._played.append(self._queue.take(end - self._given))
        self._given = end
