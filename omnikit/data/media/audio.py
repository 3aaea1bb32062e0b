"""Audio files in and out: mono float32 at a given rate. Reads no dataset and no model."""

import io
import os
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from omnikit.errors import DataError
from omnikit.store.files import atomic_file

MOST_VALUES = 400_000  # a second of audio from a network; two channels at 192 kHz are below
STREAMED_SIZE = 0x7FFFFFFF  # what is written to a pipe has no size yet, and this or more in the header


def load_audio(path: str | Path, sample_rate: int) -> NDArray[np.float32]:
    """Read an audio file as one channel at `sample_rate`.

    Channels are averaged and other rates resampled (soxr, high quality), so any file that libsndfile reads will do.

    Returns:
        [N] float32, in [-1, 1] unless the file itself holds more.

    Raises:
        DataError: the file is missing, not audio, cut short, empty, or holds values that are not finite numbers.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path} does not exist, but an audio file should be there.", kind="missing file")
    return _read(path, str(path), sample_rate, missing_bytes(path))


def decode_audio(data: bytes, sample_rate: int, *, name: str, seconds: float) -> NDArray[np.float32]:
    """Read the bytes of an audio file, in memory, as load_audio reads a file.

    Args:
        name: of the audio in messages.
        seconds: of audio at most; the header is read before anything is decoded.

    Raises:
        DataError: as load_audio, or the audio is longer.
    """
    return _read(io.BytesIO(data), name, sample_rate, missing_in(io.BytesIO(data), len(data)), seconds)


def _read(source: Path | BinaryIO, name: str, sample_rate: int, missing: int,
          seconds: float | None = None) -> NDArray[np.float32]:
    try:
        with soundfile.SoundFile(source) as file:
            promised, rate = file.frames, file.samplerate
            if seconds is not None and promised > seconds * rate:
                raise DataError(f"{name} has {promised / rate:.1f} s of audio, but at most {seconds:g} s are allowed; send a"
                                " shorter one.", kind="audio too long")
            if seconds is not None and promised * file.channels > seconds * MOST_VALUES:
                raise DataError(f"{name} has {file.channels} channels at {rate} Hz, which is more than {MOST_VALUES} values a"
                                " second; send one channel.", kind="audio too long")
            data: NDArray[np.float32] = file.read(dtype="float32", always_2d=True)  # [N, channels]
    except soundfile.LibsndfileError as error:
        raise DataError(f"{name} is not a readable audio file ({error.error_string}), "
                        "but must be one that libsndfile reads: WAV, FLAC, OGG or MP3.", kind="unreadable audio") from None
    if missing or len(data) < promised:
        found = f"{missing} bytes are missing" if missing else f"{len(data)} of {promised} samples can be read"
        raise DataError(f"{name} is cut short ({found}); write or copy it again.", kind="unreadable audio")
    if not len(data):
        raise DataError(f"{name} holds no samples, but must hold some audio.", kind="empty audio")
    if not np.isfinite(data).all():
        raise DataError(f"{name} holds values that are not finite numbers (NaN or infinite); write it again.",
                        kind="unreadable audio")
    waveform = data.mean(axis=1, dtype=np.float32)
    if rate != sample_rate:
        waveform = soxr.resample(waveform, rate, sample_rate)
    return np.ascontiguousarray(waveform, dtype=np.float32)


def save_audio(path: str | Path, waveform: NDArray[np.float32], sample_rate: int) -> None:
    """Write a mono WAV of 16-bit samples; the file appears whole or not at all.

    Args:
        waveform: [N]; what exceeds [-1, 1] is clipped.

    Raises:
        DataError: the waveform is not one channel of finite numbers.
        RunError: the file cannot be written (folder missing, disk full, no permission).
    """
    path = Path(path)
    if waveform.ndim != 1 or not np.isfinite(waveform).all():
        raise DataError(f"A waveform for {path} must be one channel of finite numbers, but has shape {waveform.shape}"
                        f"{'' if np.isfinite(waveform).all() else ' and holds NaN or infinite values'}.")
    data = wav_bytes(waveform, sample_rate)
    with atomic_file(path) as part:
        part.write_bytes(data)


def wav_bytes(waveform: NDArray[np.float32], sample_rate: int) -> bytes:
    """Give a mono WAV file of 16-bit samples; what exceeds [-1, 1] is clipped."""
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(waveform, -1.0, 1.0), sample_rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def missing_bytes(path: Path) -> int:
    """Count the bytes that a WAV file's data chunk promises beyond the end of the file; 0 for other formats."""
    with path.open("rb") as file:
        return missing_in(file, path.stat().st_size)


def missing_in(file: BinaryIO, length: int) -> int:
    """Count them in a file of `length` bytes.

    libsndfile reads a truncated WAV without an error, so the header is read here once more.
    """
    if file.read(4) != b"RIFF" or file.seek(4, os.SEEK_CUR) != 8 or file.read(4) != b"WAVE":
        return 0
    while len(header := file.read(8)) == 8:
        name, size = struct.unpack("<4sI", header)
        if name == b"data":
            there = length - file.tell()
            return max(0, size - there) if size < STREAMED_SIZE else 0
        file.seek(size + size % 2, os.SEEK_CUR)
    return 0
