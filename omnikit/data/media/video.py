"""Videos from files through PyAV, and which of their frames an encoder takes. Reads no sample and no model."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from omnikit.contracts.specs import ImageSpec
from omnikit.data.media.image import Pixels, check_pixels
from omnikit.errors import DataError
from omnikit.store.files import atomic_file

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

EMBEDDED = "its embedded file"
EBML = b"\x1aE\xdf\xa3"  # the first bytes of WebM and Matroska


@dataclass(frozen=True)
class VideoFile:
    """Length and rate of a video.

    Args:
        frames: how many there are.
        rate: frames per second.
    """

    frames: int
    rate: float


def frame_indices(video: VideoFile, spec: ImageSpec) -> list[int]:
    """Give the indices of the frames of a video that an encoder takes, in order; a short one repeats some."""
    if spec.frame_rate is not None:
        return frames_by_rate(video, spec.frame_rate, spec.least_frames, spec.most_frames)
    return frames_by_duration(video, spec.least_frames, spec.most_frames)


def frames_by_duration(video: VideoFile, least: int = 4, most: int = 16) -> list[int]:
    """Choose by duration: `least` frames under so many seconds, one a second up to `most` seconds, else `most` frames.

    `least` and `most` frames lie evenly from the first to the last. Source: VITA-1.5, arXiv:2501.01957.
    """
    seconds = video.frames / video.rate
    if least <= seconds <= most:
        return [min(round(second * video.rate), video.frames - 1) for second in range(int(seconds))]
    return [round(index) for index in np.linspace(0, video.frames - 1, least if seconds < least else most).tolist()]


def frames_by_rate(video: VideoFile, rate: float, least: int, most: int, span: tuple[float, float] | None = None) -> list[int]:
    """Choose `rate` frames a second as VITA's released code does, thinned to `most` or repeated to `least`.

    Args:
        span: first and last second; whole seconds count, and equal ones mean one second.

    Raises:
        DataError: the video has too few frames a second for `rate`, or ends before the span.
    """
    first, last = 0, video.frames - 1
    if span:
        start, end = sorted(max(int(second), 0) for second in span)
        first, last = int(start * video.rate), int(min((end if end > start else start + 1) * video.rate, last))
    if last < first:
        raise DataError(f"The video has {video.frames / video.rate:g} s, but second {span and min(span):g} of it is asked for.",
                        kind="video too short")
    stride = round(video.rate / rate)  # a half goes to the even number, as in the original
    if not stride:
        raise DataError(f"The video has {video.rate:g} frames a second, but {rate:g} are asked for; set frame_rate below"
                        f" {2 * video.rate:g}.", kind="video too slow")
    indices = list(range(first, last + 1, stride))
    count = min(max(len(indices), least), most)
    return [indices[index] for index in np.linspace(0, len(indices) - 1, count, dtype=int)]


def open_video(path: str | Path | bytes) -> VideoFile:
    """Read how many frames a video (or the bytes of one) has and how fast they follow, without decoding any.

    Raises:
        DataError: as load_frames, or decode_frames.
    """
    if isinstance(path, bytes):
        with _open(io.BytesIO(path), EMBEDDED, _container(path, EMBEDDED)) as (container, stream):
            return _video(EMBEDDED, container, stream)[0]
    with _open(path) as (container, stream):
        return _video(path, container, stream)[0]


def load_frames(path: str | Path, spec: ImageSpec) -> Pixels:
    """Read the frames of a video that an encoder takes, [F, H, W, 3] of red, green and blue, turned as its camera was held.

    Raises:
        DataError: the file is missing, not a video, cut short, or has too few frames a second.
    """
    with _open(path) as (container, stream):
        return _frames(container, stream, spec, str(path))


def decode_frames(data: bytes, spec: ImageSpec, *, name: str, seconds: float, most: int) -> Pixels:
    """Read the bytes of a video, in memory, as load_frames reads a file.

    Args:
        name: of the video in messages.
        seconds: of video at most.
        most: pixels of a frame at most.

    Raises:
        DataError: as load_frames, or the video is longer or larger, or neither MP4 nor WebM nor Matroska.
    """
    with _open(io.BytesIO(data), name, _container(data, name)) as (container, stream):
        if stream.width * stream.height > most:
            raise DataError(f"{name} has frames of {stream.width} x {stream.height} pixels, but at most {most:,} are allowed;"
                            " make it smaller.", kind="unreadable video")
        return _frames(container, stream, spec, name, seconds)


def _container(data: bytes, name: str) -> str:
    """Give FFmpeg's name of the format; its other readers may open files that the data name."""
    if data[4:8] != b"ftyp" and data[:4] != EBML:
        raise DataError(f"{name} is not a readable video, but must be an MP4, WebM or Matroska file.",
                        kind="unreadable video")
    return "mp4" if data[4:8] == b"ftyp" else "matroska"


def _frames(container: "InputContainer", stream: "VideoStream", spec: ImageSpec, name: str,
            seconds: float | None = None) -> Pixels:
    video, timeline = _video(name, container, stream)
    if seconds is not None and video.frames > seconds * video.rate:
        raise DataError(f"{name} has {video.frames / video.rate:.1f} s of video, but at most {seconds:g} s are allowed; send a"
                        " shorter one.", kind="video too long")
    try:
        wanted = frame_indices(video, spec)
    except DataError as error:
        raise DataError(f"{name}: {error}", kind=error.kind) from error
    moments = [timeline.moments[index] for index in wanted]
    found = dict(_decode(container, stream, timeline.keys, sorted(set(moments))))
    if missing := [index for index, moment in zip(wanted, moments, strict=True) if moment not in found]:
        raise DataError(f"{name} is damaged (frame {missing[0]} of {video.frames} cannot be read); write or copy it again.",
                        kind="unreadable video")
    return np.stack([found[moment] for moment in moments])


def save_video(path: str | Path, frames: Pixels | Sequence[Pixels], rate: float) -> None:
    """Write frames [F, H, W, 3], even sides, as an MP4 (H.264); the file appears whole or not at all.

    Raises:
        DataError: the frames are not a video.
        RunError: the file cannot be written.
    """
    import av

    path, pixels = Path(path), check_pixels(np.asarray(frames), str(path), axes=4)
    if pixels.shape[1] % 2 or pixels.shape[2] % 2:
        raise DataError(f"{path} has frames of {pixels.shape[2]} x {pixels.shape[1]} pixels, but a video's sides must be even.")
    with atomic_file(path) as part, av.open(str(part), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1001))
        stream.height, stream.width = pixels.shape[1:3]
        stream.pix_fmt, stream.thread_count = "yuv420p", 1
        stream.options = {"crf": "18", "preset": "veryfast"}
        for frame in pixels:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode(None))


@contextmanager
def _open(source: str | Path | BinaryIO, name: str = "",
          container_format: str | None = None) -> "Iterator[tuple[InputContainer, VideoStream]]":
    import av

    name = name or str(source)
    if isinstance(source, str | Path) and not Path(source).is_file():
        raise DataError(f"{name} does not exist, but a video should be there.", kind="missing file")
    try:
        with av.open(str(source) if isinstance(source, Path) else source, mode="r", format=container_format) as container:
            if not container.streams.video:
                raise DataError(f"{name} holds no images, but must be a video; give its sound track as audio instead.",
                                        kind="unreadable video")
            yield container, container.streams.video[0]
    except av.FFmpegError as error:
        raise DataError(f"{name} is not a readable video ({error.strerror}), but must be one that FFmpeg reads: MP4, WebM or"
                        " MKV.", kind="unreadable video") from None


@dataclass(frozen=True)
class _Timeline:
    """When frames are shown, in the stream's own ticks, and which of these moments one can jump to; both in order."""

    moments: list[int]
    keys: list[int]


def _video(path: str | Path, container: "InputContainer", stream: "VideoStream") -> tuple[VideoFile, _Timeline]:
    """Count the frames by their packets: headers of truncated videos still count them all, and those of streams none."""
    packets = [packet for packet in container.demux(stream) if packet.size]
    visible = [packet for packet in packets if not packet.is_discard]  # without what an edit list cuts off
    rate = stream.average_rate or stream.guessed_rate
    if not visible or not rate:
        raise DataError(f"{path} holds no frame, but must be a video.", kind="unreadable video")
    if len(packets) < stream.frames:
        raise DataError(f"{path} is cut short ({len(packets)} of {stream.frames} frames are there); write or copy it again.",
                        kind="unreadable video")
    moments = sorted(packet.pts for packet in visible if packet.pts is not None)
    if len(moments) < len(visible):
        raise DataError(f"{path} has frames without a time stamp; put it into an MP4 file.", kind="unreadable video")
    keys = sorted(packet.pts for packet in packets if packet.is_keyframe and packet.pts is not None)
    return VideoFile(len(visible), float(rate)), _Timeline(moments, keys)


def _decode(container: "InputContainer", stream: "VideoStream", keys: Sequence[int],
            wanted: Sequence[int]) -> Iterator[tuple[int, Pixels]]:
    """Give the wanted frames by their moments, in order; skips to a key frame where there is one."""
    frames: Iterator[VideoFrame] = iter(())
    at: int | None = None  # the last moment that was decoded
    for moment in wanted:
        key = max((key for key in keys if key <= moment), default=wanted[0])
        if at is None or key > at:
            container.seek(key, stream=stream)
            frames = container.decode(stream)
        for frame in frames:
            at = frame.pts
            if at == moment:
                yield moment, _rotated(frame)
            if at is None or at >= moment:
                break


def _rotated(frame: "VideoFrame") -> Pixels:
    pixels = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(pixels, frame.rotation // 90))  # both count against the clock
