"""Audio files in and out: mono float32 at a given rate. Reads no dataset and no model.

libsndfile reads what it measures rightly; MP3, joined OGG and what browsers and phones record go through PyAV.
"""

from __future__ import annotations

import io
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from omnikit.data.media.audio_arrays import check_values
from omnikit.data.media.audio_formats import PLAIN, Container, find_container, ogg_links
from omnikit.data.media.containers import DEFAULTS, open_file
from omnikit.data.media.ffmpeg_audio import decode_mp3, decode_track
from omnikit.data.media.mp3_frames import mp3_parts
from omnikit.data.media.wav_header import SizedWAV, data_chunk
from omnikit.errors import DataError
from omnikit.recipe.media import MediaLimits
from omnikit.store.files import atomic_file

Waveform = NDArray[np.float32]
MOST_VALUES = 400_000  # a second of audio from a network; two channels at 192 kHz are below
BLOCK = 1 << 18  # samples of a channel that are decoded at once
UNKNOWN = 1 << 40  # samples from which a header's count means: not known
LEAST_RATE, MOST_RATE = 1000, 768_000  # Hz of a recording; others are damaged headers
OTHER_READER = {"WAV": "wav", "CAF": "caf", "OGG": "ogg"}  # FFmpeg's, for codecs that libsndfile has not


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
        found = _decode(file, str(path), first=seconds, limit=limits.max_seconds)
        return _at_rate(*found, sample_rate)


def decode_audio(data: bytes, sample_rate: int, *, name: str, seconds: float | None, first: float | None = None) -> Waveform:
    """Read the bytes of an audio file, in memory, as load_audio reads a file.

    Args:
        name: of the audio in messages.
        seconds: of audio at most; no more is decoded. None: any.
        first: seconds that are decoded; the rest counts towards no limit.

    Raises:
        DataError: as load_audio, or the audio is longer.
    """
    return _at_rate(*_decode(io.BytesIO(data), name, first=first, most=seconds), sample_rate)


def audio_length(source: str | Path | bytes, sample_rate: int | None = None, seconds: float | None = None) -> int:
    """Give the samples that load_audio or decode_audio gives, from headers where these can be trusted; 0: it is not audio.

    Args:
        source: a file's path or content.
        sample_rate: None: the file's own.
        seconds: that are decoded at most.
    """
    try:
        if isinstance(source, bytes):
            count, own = _length(io.BytesIO(source), "", seconds)
        else:
            facts = Path(source).stat()
            count, own = _length_of_file(str(source), facts.st_size, facts.st_mtime_ns, seconds)
    except (DataError, OSError, soundfile.LibsndfileError):
        return 0
    rate = sample_rate or own
    return count if rate == own else int((2 * count * rate + own) // (2 * own))  # soxr rounds half up


def check_audio(source: str | Path | bytes, name: str) -> None:
    """Raise DataError where a file, or the content of one, is not audio; decodes it only where nothing else shows that."""
    try:
        with io.BytesIO(source) if isinstance(source, bytes) else open_file(source, name, "audio file", DEFAULTS) as file:
            _length(file, name)
    except soundfile.LibsndfileError as error:
        raise DataError(f"{name} is not a readable audio file ({error.error_string}), but must be {PLAIN}.",
                        kind="unreadable audio") from None


def _decode(file: BinaryIO, name: str, *, first: float | None = None, most: float | None = None,
            limit: float | None = None) -> tuple[Waveform, int]:
    """Give one channel and its rate: of the first seconds, or of at most so many.

    Args:
        most: seconds of audio from a network, whose channels and rate are bounded too; `limit`: of a file.
    """
    most, limit = (None, None) if first is not None else (most, most if most is not None else limit)
    enough = first if limit is None else limit + 1.0
    container = _container(file, name)
    links = _links(file, container)
    if len(links) > 1:
        decoded = [_sndfile(link, name, enough, limit, most) for link in links]
        rate = decoded[0][1]
        waveform = np.concatenate([_at_rate(*one, rate) for one in decoded])[:None if enough is None else int(enough * rate)]
    elif container.ffmpeg == "mp3":
        waveform, rate = _mp3(file, name, enough)
    elif container.ffmpeg is not None:
        waveform, rate = decode_track(file, container.ffmpeg, name, enough)
    else:
        waveform, rate = _sndfile(file, name, enough, limit, most)
    if limit is not None and len(waveform) > limit * rate:
        raise DataError(f"{name} has more than {limit:g} s of audio, which is all that is allowed; give a shorter one.",
                        kind="audio too long")
    check_values(waveform, name)
    return waveform, rate


def _container(file: BinaryIO, name: str) -> Container:
    found = find_container(file)
    if found is None:
        raise DataError(f"{name} is not a readable audio file, but must be {PLAIN}.", kind="unreadable audio")
    if found.name == "FLAC" and _is_piped_flac(file):
        return Container("FLAC", "flac")
    return Container(found.name, OTHER_READER[found.name]) if found.name in OTHER_READER and _is_for_ffmpeg(file) else found


def _links(file: BinaryIO, container: Container) -> list[BinaryIO]:
    """Give the streams of an OGG file that is several, one behind the other."""
    starts = ogg_links(file) if container == Container("OGG") else []
    if len(starts) < 2:
        return []
    file.seek(0)
    data = file.read()
    return [io.BytesIO(data[start:end]) for start, end in pairwise([*starts, len(data)])]


def _is_for_ffmpeg(file: BinaryIO) -> bool:
    """Say whether libsndfile has not the codec of a file, or miscounts it."""
    file.seek(0)
    try:
        with soundfile.SoundFile(file) as opened:
            return str(opened.subtype) == "MPEG_LAYER_III"
    except soundfile.LibsndfileError:
        file.seek(0)
        return file.read(4) != b"RIFF" or data_chunk(file) is not None


def _is_piped_flac(file: BinaryIO) -> bool:
    """Say whether a FLAC file states no length, as one that was written to a pipe."""
    file.seek(0)
    head = file.read(26)
    return head[:4] == b"fLaC" and not head[21] & 0x0F and not any(head[22:26])


def _mp3(file: BinaryIO, name: str, seconds: float | None) -> tuple[Waveform, int]:
    file.seek(0)
    data = file.read()
    parts = mp3_parts(data)
    if not parts:
        raise DataError(f"{name} holds no frame of an MP3; write or copy it again.", kind="unreadable audio")
    if parts[-1].missing:
        raise DataError(f"{name} is cut short ({parts[-1].missing} frames are missing); write or copy it again.",
                        kind="unreadable audio")
    return decode_mp3(data, parts, name, seconds)


def _sndfile(file: BinaryIO, name: str, seconds: float | None, limit: float | None, most: float | None) -> tuple[Waveform, int]:
    chunk = data_chunk(file)
    source = SizedWAV(file, chunk) if chunk and chunk.is_piped else file
    source.seek(0)
    try:
        with soundfile.SoundFile(source) as opened:
            rate, promised = opened.samplerate, opened.frames
            _check_header(opened, name, limit, most)
            wanted = promised if seconds is None else min(promised, int(seconds * rate))
            pieces, count = [], 0
            while count < wanted:
                block = opened.read(min(BLOCK, wanted - count), dtype="float32", always_2d=True)  # [N, channels]
                if not len(block):
                    break
                pieces.append(block.mean(axis=1, dtype=np.float32))
                count += len(block)
    except soundfile.LibsndfileError as error:
        raise DataError(f"{name} is not a readable audio file ({error.error_string}), "
                        f"but must be {PLAIN}.", kind="unreadable audio") from None
    if (chunk and chunk.missing) or count < min(wanted, UNKNOWN):
        found = f"{chunk.missing} bytes are missing" if chunk and chunk.missing else f"{count} of {promised} samples are there"
        raise DataError(f"{name} is cut short ({found}); write or copy it again.", kind="unreadable audio")
    return np.concatenate([*pieces, np.zeros(0, np.float32)]), rate


def _check_header(opened: soundfile.SoundFile, name: str, limit: float | None, most: float | None) -> None:
    rate, channels = opened.samplerate, opened.channels
    if not LEAST_RATE <= rate <= MOST_RATE:
        raise DataError(f"{name} states {rate} samples a second, but a recording has {LEAST_RATE} to {MOST_RATE}; write it"
                        " again.", kind="unreadable audio")
    if limit is not None and UNKNOWN > opened.frames > limit * rate:
        raise DataError(f"{name} has {opened.frames / rate:.1f} s of audio, but at most {limit:g} s are allowed"
                        " (media.max_seconds); give a shorter one.", kind="audio too long")
    if most is not None and channels * min(opened.frames, most * rate) > most * MOST_VALUES:
        raise DataError(f"{name} has {channels} channels at {rate} Hz, which is more than {MOST_VALUES} values a"
                        " second; send one channel.", kind="audio too long")


def _at_rate(waveform: Waveform, rate: int, wanted: int) -> Waveform:
    if rate != wanted:
        waveform = soxr.resample(waveform, rate, wanted)
    return np.ascontiguousarray(waveform, dtype=np.float32)


@lru_cache(maxsize=1 << 16)
def _length_of_file(path: str, size: int, changed: int, seconds: float | None) -> tuple[int, int]:
    with open_file(path, path, "audio file", DEFAULTS) as file:
        return _length(file, path, seconds)


def _length(file: BinaryIO, name: str, seconds: float | None = None) -> tuple[int, int]:
    """Give samples and rate, of the first seconds: from a header, from counted frames, or, if neither is exact, by decoding."""
    count, rate = _complete_length(file, name, seconds)
    return (count if seconds is None else min(count, int(seconds * rate))), rate


def _complete_length(file: BinaryIO, name: str, seconds: float | None) -> tuple[int, int]:
    container = _container(file, name)
    if container.ffmpeg == "mp3":
        file.seek(0)
        parts = mp3_parts(file.read())
        if not parts:
            return 0, LEAST_RATE
        rate = parts[0].rate
        return sum((2 * part.samples * rate + part.rate) // (2 * part.rate) for part in parts), rate
    if container.ffmpeg is not None:
        waveform, rate = decode_track(file, container.ffmpeg, name, seconds)
        return len(waveform), rate
    if links := _links(file, container):
        counted = [_complete_length(link, name, seconds) for link in links]
        rate = counted[0][1]
        return sum((2 * count * rate + own) // (2 * own) for count, own in counted), rate
    chunk = data_chunk(file)
    source = SizedWAV(file, chunk) if chunk and chunk.is_piped else file
    source.seek(0)
    with soundfile.SoundFile(source) as opened:
        return opened.frames, opened.samplerate


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
