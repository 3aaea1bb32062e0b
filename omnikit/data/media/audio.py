"""Audio files in and out: mono float32 at a given rate. Reads no dataset and no model."""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from omnikit.data.media.audio_decoders import Waveform, at_rate, decode, length_at, measure
from omnikit.data.media.audio_formats import PLAIN
from omnikit.data.media.containers import DEFAULTS, open_file
from omnikit.errors import DataError
from omnikit.recipe.media import MediaLimits
from omnikit.store.files import atomic_file


def load_audio(path: str | Path, sample_rate: int, *, seconds: float | None = None, limits: MediaLimits = DEFAULTS) -> Waveform:
    """Read an audio file, or the audio track of a video, as one channel at `sample_rate`.

    Channels are averaged and other rates resampled (soxr, high quality).

    Args:
        seconds: no more than the first ones are decoded, and the rest counts towards no limit; None: all.

    Returns:
        [N] float32, in [-1, 1] unless the file itself holds more.

    Raises:
        DataError: the file is missing, not audio, cut short, empty, or holds values that are not finite numbers.
    """
    with open_file(path, str(path), "audio file", limits) as file:
        found = decode(file, str(path), first=seconds, limit=limits.max_seconds)
        return at_rate(*found, sample_rate)


def decode_audio(data: bytes, sample_rate: int, *, name: str, seconds: float | None, first: float | None = None) -> Waveform:
    """Read the bytes of an audio file, in memory, as load_audio reads a file.

    Args:
        name: of the audio in messages.
        seconds: of audio at most; no more is decoded. None: any.
        first: seconds that are decoded; the rest counts towards no limit.

    Raises:
        DataError: as load_audio, or the audio is longer.
    """
    return at_rate(*decode(io.BytesIO(data), name, first=first, most=seconds), sample_rate)


def audio_length(source: str | Path | bytes, sample_rate: int | None = None, seconds: float | None = None, *,
                 limits: MediaLimits = DEFAULTS) -> int:
    """Give the samples that load_audio or decode_audio gives, from headers where these can be trusted; 0: it is not audio.

    Args:
        source: a file's path or content.
        sample_rate: None: the file's own.
        seconds: that are decoded at most.
        limits: a file of more bytes has no length; of one without a header no more seconds are decoded.
    """
    try:
        if isinstance(source, bytes):
            count, own = measure(io.BytesIO(source), "", seconds, limits.max_seconds)
        else:
            facts = Path(source).stat()
            count, own = _length_of_file(str(source), facts.st_size, facts.st_mtime_ns, seconds, limits)
    except (DataError, OSError, soundfile.LibsndfileError):
        return 0
    return length_at(count, own, sample_rate or own)


def check_audio(source: str | Path | bytes, name: str, limits: MediaLimits = DEFAULTS) -> None:
    """Raise DataError where a file, or the content of one, is not audio; decodes it only where nothing else shows that."""
    try:
        with io.BytesIO(source) if isinstance(source, bytes) else open_file(source, name, "audio file", limits) as file:
            measure(file, name, most=limits.max_seconds)
    except soundfile.LibsndfileError as error:
        raise DataError(f"{name} is not a readable audio file ({error.error_string}), but must be {PLAIN}.",
                        kind="unreadable audio") from None


@lru_cache(maxsize=1 << 16)
def _length_of_file(path: str, size: int, changed: int, seconds: float | None, limits: MediaLimits) -> tuple[int, int]:
    with open_file(path, path, "audio file", limits) as file:
        return measure(file, path, seconds, limits.max_seconds)


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
