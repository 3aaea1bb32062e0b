"""Audio files decoded, or measured without decoding where a header can be trusted. Opens no path.

libsndfile reads what it measures rightly; MP3 and what browsers and phones record go through PyAV.
"""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from omnikit.data.media.audio_arrays import check_values
from omnikit.data.media.audio_formats import PLAIN, Container, find_container
from omnikit.data.media.ffmpeg_audio import decode_mp3, decode_track, track_length
from omnikit.data.media.joined_files import joined_files
from omnikit.data.media.mp3_frames import MP3Part, mp3_parts
from omnikit.data.media.plain_wav import plain_wav
from omnikit.data.media.stated_sizes import data_chunk, missing_bytes, sized
from omnikit.errors import DataError

Waveform = NDArray[np.float32]
MOST_VALUES = 400_000  # a second of audio from a network; two channels at 192 kHz are below
BLOCK = 1 << 18  # samples of a channel that are decoded at once
MP3_TAGS, MP3_BYTES = 1 << 20, 40_000  # bytes before the first frame, mostly; of a second of an MP3, at most
UNKNOWN = 1 << 40  # samples from which a header's count means: not known
LEAST_RATE, MOST_RATE = 1000, 768_000  # Hz of a recording; others are damaged headers
MISCOUNTED = ("MPEG_LAYER_III", "GSM610", "G721_32", "G723_24", "G723_40")  # codecs of which libsndfile gives another length


def decode(file: BinaryIO, name: str, *, first: float | None = None, most: float | None = None,
           limit: float | None = None) -> tuple[Waveform, int]:
    """Give one channel and its rate: of the first seconds, or of at most so many.

    Args:
        most: seconds of audio from a network, whose channels and rate are bounded too; `limit`: of a file.

    Raises:
        DataError: the file is not audio, cut short, empty, too long, or holds values that are not finite numbers.
    """
    most, limit = (None, None) if first is not None else (most, most if most is not None else limit)
    plain = plain_wav(file)
    if plain and (limit is None or plain.frames <= limit * plain.rate) and (first is None or first * plain.rate >= 1):
        return plain.read(file, first), plain.rate
    waveform, rate = _decode(file, name, first, limit, most)
    if limit is not None and len(waveform) > limit * rate:
        raise DataError(f"{name} has more than {limit:g} s of audio, which is all that is allowed; give a shorter one.",
                        kind="audio too long")
    check_values(waveform, name)
    return waveform, rate


def measure(file: BinaryIO, name: str, seconds: float | None = None, most: float | None = None) -> tuple[int, int]:
    """Give samples and rate, of the first seconds: from a header, from counted frames, or, if neither is exact, by decoding.

    Args:
        most: seconds that are allowed; a file that must be decoded is decoded until it has more.

    Raises:
        DataError: as decode. LibsndfileError: libsndfile cannot read it.
    """
    plain = plain_wav(file)
    count, rate = (plain.frames, plain.rate) if plain else _measure(file, name, seconds, most)
    return (count if seconds is None else min(count, int(seconds * rate))), rate


def at_rate(waveform: Waveform, rate: int, wanted: int) -> Waveform:
    """Resample a waveform (soxr, high quality)."""
    if rate != wanted:
        waveform = soxr.resample(waveform, rate, wanted)
    return np.ascontiguousarray(waveform, dtype=np.float32)


def length_at(count: int, rate: int, wanted: int) -> int:
    """Give the samples that at_rate makes of so many: it rounds half up."""
    return count if rate == wanted else int((2 * count * wanted + rate) // (2 * rate))


def _decode(file: BinaryIO, name: str, first: float | None, limit: float | None, most: float | None) -> tuple[Waveform, int]:
    seconds = first if limit is None else limit + 1.0
    container = _container(file, name)
    if container.name == "mp3":
        return decode_mp3(_mp3_parts(file, name, seconds), name, seconds)
    pieces, rate, count = [np.zeros(0, np.float32)], 0, 0
    for one in joined_files(file, container.name, _searched(seconds)):
        waveform, own = _decode_one(one, name, _container(one, name), (seconds, limit, most))
        rate = rate or own
        pieces.append(at_rate(waveform, own, rate))
        count += len(pieces[-1])
        if seconds is not None and count >= seconds * rate:
            return np.concatenate(pieces)[:int(seconds * rate)], rate
    return (np.concatenate(pieces), rate) if rate else _decode_one(file, name, container, (seconds, limit, most))


def _decode_one(file: BinaryIO, name: str, container: Container,
                bounds: tuple[float | None, float | None, float | None]) -> tuple[Waveform, int]:
    seconds, limit, most = bounds
    _check_complete(file, name, container)
    if container.by_ffmpeg:
        return decode_track(file, container.name, name, seconds, limit)
    return _sndfile(file, name, seconds, limit, most)


def _measure(file: BinaryIO, name: str, seconds: float | None, most: float | None) -> tuple[int, int]:
    container = _container(file, name)
    if container.name == "mp3":
        parts = _mp3_parts(file, name, seconds)
        rate = parts[0].rate
        return sum(length_at(part.samples, part.rate, rate) for part in parts), rate
    total = rate = 0
    for one in joined_files(file, container.name, _searched(seconds)):
        count, own = _measure_one(one, name, _container(one, name), most)
        rate = rate or own
        total += length_at(count, own, rate)
        if seconds is not None and total >= seconds * rate:
            break
    enough = seconds if most is None else min(seconds or most + 1, most + 1)
    return (total, rate) if rate else _measure_one(file, name, container, enough)


def _measure_one(file: BinaryIO, name: str, container: Container, seconds: float | None) -> tuple[int, int]:
    _check_complete(file, name, container)
    if container.by_ffmpeg:
        return track_length(file, container.name, name, seconds)
    with soundfile.SoundFile(sized(file)) as opened:
        return opened.frames, opened.samplerate


def _check_complete(file: BinaryIO, name: str, container: Container) -> None:
    if missing := missing_bytes(file, container.name):
        raise DataError(f"{name} is cut short ({missing} bytes are missing); write or copy it again.", kind="unreadable audio")


def _searched(seconds: float | None) -> int | None:
    """Give the bytes that so many seconds have at most."""
    return None if seconds is None else int(4 * seconds * MOST_VALUES)


def _container(file: BinaryIO, name: str) -> Container:
    found = find_container(file)
    if found is None:
        raise DataError(f"{name} is not a readable audio file, but must be {PLAIN}.", kind="unreadable audio")
    if found.by_ffmpeg:
        return found
    return Container(found.name, _is_for_ffmpeg(file) if found.name != "flac" else _is_piped_flac(file))


def _is_for_ffmpeg(file: BinaryIO) -> bool:
    """Say whether libsndfile has not the codec of a file, or miscounts it."""
    try:
        with soundfile.SoundFile(sized(file)) as opened:
            return str(opened.subtype) in MISCOUNTED
    except soundfile.LibsndfileError:
        file.seek(0)
        return file.read(4) != b"RIFF" or data_chunk(file) is not None


def _is_piped_flac(file: BinaryIO) -> bool:
    """Say whether a FLAC file states no length, as one that was written to a pipe."""
    file.seek(0)
    head = file.read(26)
    return head[:4] == b"fLaC" and not head[21] & 0x0F and not any(head[22:26])


def _mp3_parts(file: BinaryIO, name: str, seconds: float | None) -> list[MP3Part]:
    file.seek(0)
    most = -1 if seconds is None else MP3_TAGS + int(seconds * MP3_BYTES)  # no more of a long file is read
    parts = list(mp3_parts(file.read(most), seconds))
    if seconds is not None and sum(part.samples / part.rate for part in parts) < seconds:
        file.seek(0)
        parts = list(mp3_parts(file.read(), seconds))
    if not parts:
        raise DataError(f"{name} holds no frame of an MP3; write or copy it again.", kind="unreadable audio")
    if missing := sum(part.missing for part in parts):
        raise DataError(f"{name} is cut short ({missing} frames are missing); write or copy it again.", kind="unreadable audio")
    return parts


def _sndfile(file: BinaryIO, name: str, seconds: float | None, limit: float | None, most: float | None) -> tuple[Waveform, int]:
    try:
        with soundfile.SoundFile(sized(file)) as opened:
            rate, promised = opened.samplerate, opened.frames
            _check_header(opened, name, limit, most)
            wanted = promised if seconds is None else min(promised, int(seconds * rate))
            pieces, count = [np.zeros(0, np.float32)], 0
            while count < wanted:
                block = opened.read(min(BLOCK, wanted - count), dtype="float32", always_2d=True)  # [N, channels]
                if not len(block):
                    break
                pieces.append(block.mean(axis=1, dtype=np.float32))
                count += len(block)
    except soundfile.LibsndfileError as error:
        raise DataError(f"{name} is not a readable audio file ({error.error_string}), "
                        f"but must be {PLAIN}.", kind="unreadable audio") from None
    if count < min(wanted, UNKNOWN):
        raise DataError(f"{name} is cut short ({count} of {promised} samples are there); write or copy it again.",
                        kind="unreadable audio")
    return np.concatenate(pieces), rate


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
