"""The audio track of a file through PyAV: what libsndfile does not read, or measures wrongly. The container is given."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from omnikit.data.media.mp3_frames import MP3Part
from omnikit.errors import DataError

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame

Waveform = NDArray[np.float32]
QUIET = {"protocol_whitelist": "file,pipe"}  # a container opens nothing else


def decode_track(file: BinaryIO, container: str, name: str, seconds: float | None = None) -> tuple[Waveform, int]:
    """Give the first audio track, channels averaged [N], and its rate.

    Args:
        file: open for reading; it is read from its start.
        container: FFmpeg's name of the demuxer.
        name: of the file in messages.
        seconds: that are decoded at most.

    Raises:
        DataError: the file holds no audio track, is damaged or cut short.
    """
    import av

    file.seek(0)
    try:
        with av.open(file, mode="r", format=container, options=QUIET) as opened:
            if not opened.streams.audio:
                raise DataError(f"{name} holds no audio track, but must be audio.", kind="unreadable audio")
            stream = opened.streams.audio[0]
            rate, resampler = stream.rate, av.AudioResampler(format="fltp")
            pieces, count = [], 0
            for frame in opened.decode(stream):
                pieces += [_mono(piece) for piece in resampler.resample(frame)]
                count += frame.samples
                if seconds is not None and count >= seconds * rate:
                    break
            pieces += [_mono(piece) for piece in resampler.resample(None)]
    except av.FFmpegError as error:
        raise DataError(f"{name} is damaged or cut short ({error.strerror}); write or copy it again.",
                        kind="unreadable audio") from None
    waveform = np.concatenate([*pieces, np.zeros(0, np.float32)])
    return (waveform if seconds is None else waveform[:int(seconds * rate)]), rate


def _mono(frame: AudioFrame) -> Waveform:
    """Average the channels of a planar frame; its planes may be longer than its samples."""
    return np.asarray(frame.to_ndarray()[:, :frame.samples].mean(axis=0, dtype=np.float32))


def decode_mp3(data: bytes, parts: list[MP3Part], name: str, seconds: float | None = None) -> tuple[Waveform, int]:
    """Give an MP3 [N] and its rate, each part decoded by itself: a tag inside a stream would be taken for sound.

    A part of another rate is resampled to that of the first.

    Raises:
        DataError: a frame is damaged.
    """
    import soxr

    pieces, rate, count = [], parts[0].rate, 0
    for part in parts:
        rest = None if seconds is None else seconds - count / rate
        if rest is not None and rest <= 0:
            break
        piece, own = decode_track(io.BytesIO(data[part.start:part.end]), "mp3", name, rest)
        pieces.append(piece if own == rate else np.asarray(soxr.resample(piece, own, rate), dtype=np.float32))
        count += len(pieces[-1])
    return np.concatenate(pieces), rate
