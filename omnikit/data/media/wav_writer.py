"""Audio on disk while it is being made: numbered segments, and one file that grows. Each is a complete WAV at every moment."""

import io
import os
import re
import wave
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from omnikit.data.media.audio import save_audio
from omnikit.errors import RunError
from omnikit.store.files import check_file

NUMBERED = re.compile(r"\d{3,}\.wav")


class WavSegments:
    """Owns `a-segments/001.wav`, `002.wav`, … and the growing file beside `a.wav`, which takes its name in the end.

    Raises:
        RunError: a file cannot be written (disk full, no permission), or the folder holds other files.
    """

    def __init__(self, path: Path, sample_rate: int) -> None:
        self.path, self.sample_rate = path, sample_rate
        self.folder = path.with_name(f"{path.stem}-segments")
        self.growing = path.with_name(f"{path.stem}.{os.getpid()}.part.wav")
        self.count = self.samples = 0
        with self._writing():
            check_file(path)
            self.folder.mkdir(exist_ok=True)
            self._empty()
            self._file = self.growing.open("wb")
            self._wave = wave.open(self._file, "wb")  # noqa: SIM115  # closed by finish or abandon
            self._wave.setparams((1, 2, sample_rate, 0, "NONE", ""))
            self._append(np.zeros(0, np.float32))

    @property
    def seconds(self) -> float:
        """Length of all segments together."""
        return self.samples / self.sample_rate

    def write(self, waveform: NDArray[np.float32]) -> None:
        """Write one more segment [N]."""
        self.count += 1
        save_audio(self.folder / f"{self.count:03d}.wav", waveform, self.sample_rate)
        with self._writing():
            self._append(waveform)

    def finish(self) -> None:
        """Give the growing file its name."""
        with self._writing():
            self._wave.close()
            self._file.close()
            self.growing.replace(self.path)

    def abandon(self) -> None:
        """Remove the growing file, if it has not got its name; the segments stay."""
        with suppress(OSError):
            self._wave.close()
            self._file.close()
            self.growing.unlink(missing_ok=True)

    def _empty(self) -> None:
        """Remove the segments of an earlier answer; where something else lies too, the folder is not ours."""
        old = sorted(self.folder.iterdir())
        others = [path.name for path in old if not NUMBERED.fullmatch(path.name)]
        if others:
            raise RunError(f"{self.folder} holds {others[0]}, which is not a segment of an answer, so its files are not"
                           " replaced; choose another --out.")
        for path in old:
            path.unlink()

    def _append(self, waveform: NDArray[np.float32]) -> None:
        data = io.BytesIO()  # as save_audio writes its samples
        soundfile.write(data, np.clip(waveform, -1.0, 1.0), self.sample_rate, format="RAW", subtype="PCM_16", endian="LITTLE")
        self._wave.writeframes(data.getvalue())  # corrects the header each time
        self._file.flush()
        self.samples += len(waveform)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.growing.unlink(missing_ok=True)
            raise RunError(f"{self.path} cannot be written: {error.strerror}.") from None


@contextmanager
def wav_segments(path: Path, sample_rate: int) -> Iterator[WavSegments]:
    """Write audio as it comes; `path` appears when all is written, and not at all if that fails."""
    writer = WavSegments(path, sample_rate)
    try:
        yield writer
        writer.finish()
    finally:
        writer.abandon()
