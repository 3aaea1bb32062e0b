"""Videos from files through PyAV, and which of their frames an encoder takes. Reads no sample and no model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from omnikit.contracts.specs import ImageSpec
from omnikit.data.media.containers import DEFAULTS, open_file
from omnikit.data.media.frame_index import FORMATS, FrameIndex, VideoSource
from omnikit.data.media.image import Pixels, check_pixels, resized
from omnikit.errors import DataError
from omnikit.recipe.media import MOST_PIXELS, MediaLimits
from omnikit.store.files import atomic_file

WEB_FORMATS = ("mov", "matroska")  # of videos that come over a network or inside a row
EMBEDDED = "its embedded file"


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


def open_video(path: str | Path | bytes, limits: MediaLimits = DEFAULTS) -> VideoFile:
    """Read how many frames a video (or the bytes of one) has and how fast they follow; headers of frames are enough, mostly.

    A video of varying rate counts as one with so many frames as its seconds have at that rate which it mostly has.

    Raises:
        DataError: as load_frames, or decode_frames.
    """
    name = EMBEDDED if isinstance(path, bytes) else str(path)
    with open_file(path, name, "video", limits) as file:
        return _video_file(VideoSource(file, name, _formats(path), limits).index())


def load_frames(path: str | Path, spec: ImageSpec, limits: MediaLimits = DEFAULTS) -> Pixels:
    """Read the frames of a video that an encoder takes, [F, H, W, 3] of red, green and blue, turned as its camera was held.

    Where the size changes on the way, frames are scaled to the first one's.

    Raises:
        DataError: the file is missing, not a video, cut short, beyond the limits, or has too few frames a second.
    """
    return _stack(list(read_frames(path, spec, limits)))


def read_frames(path: str | Path | bytes, spec: ImageSpec, limits: MediaLimits = DEFAULTS, name: str = "") -> Iterator[Pixels]:
    """Read these frames one by one, each [H, W, 3] of its own size; raises as load_frames."""
    name = name or (EMBEDDED if isinstance(path, bytes) else str(path))
    with open_file(path, name, "video", limits) as file:
        source = VideoSource(file, name, _formats(path), limits)
        index = source.index()
        try:
            wanted = frame_indices(_video_file(index), spec)
        except DataError as error:
            raise DataError(f"{name}: {error}", kind=error.kind) from error
        yield from source.frames(index, [index.frame_at(number) for number in wanted])


def decode_frames(data: bytes, spec: ImageSpec, *, name: str, seconds: float, most: int) -> Pixels:
    """Read the bytes of a video, in memory, as load_frames reads a file.

    Args:
        name: of the video in messages.
        seconds: of video at most.
        most: pixels of a frame at most.

    Raises:
        DataError: as load_frames, or the video is longer or larger, or neither MP4 nor WebM nor Matroska.
    """
    limits = MediaLimits(max_seconds=min(seconds, 1e9), max_pixels=min(most, MOST_PIXELS))
    return _stack(list(read_frames(data, spec, limits, name)))


def _formats(source: str | Path | bytes) -> tuple[str, ...]:
    return WEB_FORMATS if isinstance(source, bytes) else tuple(FORMATS)


def _video_file(index: FrameIndex) -> VideoFile:
    return VideoFile(len(index.times) if index.is_even else max(1, round(index.seconds * index.rate)), index.rate)


def _stack(frames: list[Pixels]) -> Pixels:
    height, width, _ = frames[0].shape
    return np.stack([frame if frame.shape == frames[0].shape else resized(frame, width, height) for frame in frames])


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
