"""The audio track of a file through PyAV: what libsndfile does not read, or measures wrongly. The container is given."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from omnikit.data.media.audio_arrays import scaled
from omnikit.data.media.containers import open_container
from omnikit.data.media.mp3_frames import MP3Part
from omnikit.errors import DataError

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer

Waveform = NDArray[np.float32]
STREAMS = ("aac", "loas", "mpegts", "mpeg", "ac3", "eac3", "mp3", "flv")  # of frames that are complete in themselves
MOST_DAMAGED = 0.02  # of the frames of a stream, beside its first and last ones, which a recording cuts in two
OPUS_DELAY = slice(10, 12)  # bytes of the head of an Opus stream: samples at 48 kHz that its encoder put in front
UNSURE = 1.1  # a container's length is an estimate


def decode_track(file: BinaryIO, container: str, name: str, seconds: float | None = None,
                 limit: float | None = None) -> tuple[Waveform, int]:
    """Give the first audio track, channels averaged [N], and its rate.

    Args:
        file: open for reading; it is read from its start.
        container: FFmpeg's name of the demuxer.
        name: of the file in messages.
        seconds: that are decoded at most.
        limit: seconds that are allowed; a file whose header states clearly more is not decoded.

    Raises:
        DataError: the file holds no audio track, is damaged, cut short or too long.
    """
    pieces, rate, count = [np.zeros(0, np.float32)], 1, 0
    for piece, rate in _pieces(file, container, name, limit):
        pieces.append(piece)
        count += len(piece)
        if seconds is not None and count >= seconds * rate:
            break
    waveform = np.concatenate(pieces)
    return (waveform if seconds is None else waveform[:int(seconds * rate)]), rate


def track_length(file: BinaryIO, container: str, name: str, seconds: float | None = None) -> tuple[int, int]:
    """Give the samples that decode_track gives, and their rate, by decoding, but without keeping them; raises as it does."""
    count, rate = 0, 1
    for piece, rate in _pieces(file, container, name, None):
        count += len(piece)
        if seconds is not None and count >= seconds * rate:
            return int(seconds * rate), rate
    return count, rate


def decode_mp3(parts: Iterable[MP3Part], name: str, seconds: float | None = None) -> tuple[Waveform, int]:
    """Give an MP3 [N] and its rate, each part decoded by itself: a tag inside a stream would be taken for audio.

    A part of another rate is resampled to that of the first; frames that are damaged are silent.

    Raises:
        DataError: many frames are damaged.
    """
    import soxr

    pieces, rate, count = [np.zeros(0, np.float32)], 0, 0
    for part in parts:
        rate = rate or part.rate
        piece, _ = decode_track(io.BytesIO(part.data), "mp3", name)
        piece = np.pad(piece[:part.samples], (0, max(0, part.samples - len(piece))))
        pieces.append(piece if part.rate == rate else np.asarray(soxr.resample(piece, part.rate, rate), dtype=np.float32))
        count += len(pieces[-1])
        if seconds is not None and count >= seconds * rate:
            break
    waveform = np.concatenate(pieces)
    return (waveform if seconds is None else waveform[:int(seconds * rate)]), rate


def _pieces(file: BinaryIO, container: str, name: str, limit: float | None) -> Iterator[tuple[Waveform, int]]:
    """Decode the track frame by frame: one channel, and the rate, which is the same for all."""
    import av

    rate = 0
    try:
        with open_container(file, container) as opened:
            stream = _track(opened, name)
            stated = opened.duration
            if limit is not None and stated and stated / av.time_base > UNSURE * limit + 1:
                raise DataError(f"{name} has {stated / av.time_base:.1f} s of audio, but at most {limit:g} s are allowed"
                                " (media.max_seconds); give a shorter one.", kind="audio too long")
            extra = _opus_delay(stream) if container == "matroska" else 0
            for frame in _frames(opened, stream, name, container in STREAMS):
                rate = rate or frame.sample_rate
                if frame.sample_rate != rate:
                    raise DataError(f"{name} changes its sample rate on the way ({rate} Hz, then {frame.sample_rate}); write it"
                                    " at one rate.", kind="unreadable audio")
                piece = _mono(frame)[extra:]
                extra = max(0, extra - frame.samples)
                yield piece, rate
    except av.FFmpegError as error:
        raise DataError(f"{name} is damaged or cut short ({error.strerror}); write or copy it again.",
                        kind="unreadable audio") from None


def _track(opened: InputContainer, name: str) -> AudioStream:
    if not opened.streams.audio:
        raise DataError(f"{name} holds no audio track, but must be audio.", kind="unreadable audio")
    stream = opened.streams.audio[0]
    if getattr(stream, "codec_context", None) is None:
        raise DataError(f"{name} holds audio of a codec that is not known; write it as WAV, FLAC or MP3.",
                        kind="unreadable audio")
    return stream


def _opus_delay(stream: AudioStream) -> int:
    """Give the samples that FFmpeg 8 forgets to skip: it counts the delay at the rate that was encoded, not at 48 kHz."""
    head = stream.codec_context.extradata or b""
    if head[:8] != b"OpusHead":
        return 0
    return max(0, int.from_bytes(head[OPUS_DELAY], "little") - stream.codec_context.delay)


def _frames(opened: InputContainer, stream: AudioStream, name: str, is_stream: bool) -> Iterator[AudioFrame]:
    """Decode the packets; of a stream, which may begin and end inside a frame, a few damaged ones are left out."""
    import av

    count = damaged = 0
    for packet in opened.demux(stream):
        try:
            decoded = packet.decode()
        except av.error.InvalidDataError:
            if not is_stream:
                raise
            damaged += 1
            continue
        count += 1
        yield from decoded
    if damaged > 2 + MOST_DAMAGED * count or damaged > count:
        raise DataError(f"{name} is damaged ({damaged} of {count + damaged} frames cannot be read); write or copy it again.",
                        kind="unreadable audio")


def _mono(frame: AudioFrame) -> Waveform:
    """Average the channels of a frame; its planes may be longer than its samples."""
    values = frame.to_ndarray()  # [channels, N], or [1, N * channels]
    if not frame.format.is_planar:
        values = values.reshape(-1, len(frame.layout.channels)).T
    return np.asarray(scaled(values[:, :frame.samples]).mean(axis=0, dtype=np.float32))
