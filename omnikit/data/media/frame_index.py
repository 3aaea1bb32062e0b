"""When the frames of a video are shown, and the frames themselves, through PyAV. Chooses none and resizes none."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from omnikit.data.media.containers import container_format, open_container
from omnikit.data.media.frame_pixels import frame_pixels
from omnikit.data.media.joined_files import joined_files
from omnikit.data.media.stated_sizes import missing_bytes
from omnikit.data.media.track_decoder import TrackDecoder
from omnikit.errors import DataError
from omnikit.recipe.media import MediaLimits

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

Pixels = NDArray[np.uint8]
FORMATS = {"mov": "MP4", "matroska": "WebM", "avi": "AVI", "mpegts": "MPEG-TS", "mpeg": "MPEG-PS", "flv": "FLV", "asf": "WMV",
           "ogg": "Ogg", "gif": "GIF"}
"""FFmpeg's names of the container formats that are read; none of them names another file."""
ONE_ONLY = ("mov", "flv", "asf", "ogg")  # of joined files FFmpeg reads the first; of MPEG, AVI and WebM all
READABLE = "MP4 (MOV, 3GP), WebM, Matroska, AVI, MPEG-TS, MPEG-PS, FLV, WMV, Ogg or GIF"
FASTEST = 120.0  # frames a second that a video of varying rate is counted by


@dataclass(frozen=True)
class FrameIndex:
    """When each frame is shown.

    Args:
        times: seconds, in order; they begin at 0.
        rate: frames per second; of a video of varying rate, by which its seconds are counted.
        seconds: from the first frame to the end of the last.
        moments: of each frame, the time stamp by which it is found; None: it is found by its number, because time stamps
            are missing, repeated or go back.
        keys: time stamps that one can jump to, in order.
    """

    times: tuple[float, ...]
    rate: float
    seconds: float
    moments: tuple[int, ...] | None = None
    keys: tuple[int, ...] = ()

    @property
    def is_even(self) -> bool:
        """Whether frames follow each other evenly."""
        return all(abs(time - number / self.rate) <= 0.75 / self.rate + 0.002 for number, time in enumerate(self.times))

    def frame_at(self, number: int) -> int:
        """Give the frame that is shown at a number of frames at `rate`."""
        if self.is_even:
            return number
        return max(0, bisect_right(self.times, number / self.rate + 1e-6) - 1)


class _Packet(NamedTuple):
    """What an index needs of a packet; the packet itself holds its data."""

    pts: int | None
    dts: int | None
    duration: int
    is_key: bool
    is_discard: bool


class VideoSource:
    """An open video; `name` stands in messages.

    Raises:
        DataError: the file has none of the formats, or holds no video within the limits.
    """

    def __init__(self, file: BinaryIO, name: str, formats: Sequence[str], limits: MediaLimits) -> None:
        self.file, self.name, self.limits = file, name, limits
        found = container_format(file)
        if found not in formats:
            names = READABLE if len(formats) == len(FORMATS) else "MP4, WebM or Matroska"
            raise DataError(f"{name} is not a readable video, but must be an {names} file.", kind="unreadable video")
        self.container: str = str(found)
        if found in ONE_ONLY and next(joined_files(file, found), None) is not None:
            raise DataError(f"{name} holds several videos one behind the other, of which a player shows the first; join them"
                            " with ffmpeg.", kind="unreadable video")
        if found in ("ogg", "asf") and (missing := missing_bytes(file, found)):
            raise DataError(f"{name} is cut short ({missing} bytes are missing); write or copy it again.",
                            kind="unreadable video")

    @contextmanager
    def opened(self) -> Iterator[tuple[InputContainer, VideoStream]]:
        """Open the file from its beginning."""
        import av

        try:
            with open_container(self.file, self.container) as container:
                streams = [stream for stream in container.streams.video if not _is_cover(stream)]
                if not streams:
                    raise DataError(f"{self.name} holds no images that follow each other, but must be a video; give its sound"
                                    " track as audio instead.", kind="unreadable video")
                self._check_pixels(streams[0].width, streams[0].height)
                yield container, streams[0]
        except av.FFmpegError as error:
            raise DataError(f"{self.name} is not a readable video ({error.strerror}); write or copy it again.",
                            kind="unreadable video") from None

    def index(self) -> FrameIndex:
        """Find when frames are shown: by their packets, or by decoding them where these do not state it."""
        with self.opened() as (container, stream):
            rate = float(stream.average_rate or stream.guessed_rate or 25)
            found, ends = self._packet_index(container, stream, rate)
        if found is None:
            found = self._decoded_index(rate)
        if ends is not None and ends > found.seconds + max(1.0, 0.1 * ends):
            raise DataError(f"{self.name} is cut short ({found.seconds:.1f} of {ends:.1f} s are there); write or copy it"
                            " again.", kind="unreadable video")
        if found.seconds > self.limits.max_seconds:
            raise DataError(f"{self.name} has {found.seconds:.1f} s of video, but at most {self.limits.max_seconds:g} s are"
                            " allowed (media.max_seconds); give a shorter one.", kind="video too long")
        return found

    def frames(self, index: FrameIndex, wanted: Sequence[int]) -> Iterator[Pixels]:
        """Decode frames by their numbers, which may repeat but not go back."""
        last: tuple[int, Pixels] | None = None
        decoded = self._by_number(wanted) if index.moments is None else self._by_moment(index, index.moments, wanted)
        for number in wanted:
            if last is None or last[0] != number:
                frame = next(decoded, None)
                if frame is None:
                    raise DataError(f"{self.name} is damaged (frame {number} of {len(index.times)} cannot be read); write or"
                                    " copy it again.", kind="unreadable video")
                last = number, self._pixels(frame)
            yield last[1]

    def _packet_index(self, container: InputContainer, stream: VideoStream,
                      rate: float) -> tuple[FrameIndex | None, float | None]:
        """Give the index by packets, None where they do not state it; and where the video ends by its header."""
        packets = [_Packet(packet.pts, packet.dts, packet.duration or 0, packet.is_keyframe, packet.is_discard)
                   for packet in self._packets(container, stream)]
        if len(packets) < stream.frames:
            raise DataError(f"{self.name} is cut short ({len(packets)} of {stream.frames} frames are there); write or copy it"
                            " again.", kind="unreadable video")
        ends = _stated_seconds(stream)
        keys = [packet.pts for packet in packets if packet.is_key and packet.pts is not None]
        first = next((number for number, packet in enumerate(packets) if packet.is_key), 0)
        shown = [packet for packet in packets[first:] if not packet.is_discard]  # without what an edit list cuts off
        decoding = [packet.dts for packet in packets if packet.dts is not None]
        moments = sorted(packet.pts for packet in shown if packet.pts is not None and (not keys or packet.pts >= keys[0]))
        if (not shown or any(packet.pts is None for packet in shown) or len(set(moments)) < len(moments)
                or any(after < before for before, after in pairwise(decoding)) or stream.time_base is None):
            return None, ends
        tick = float(stream.time_base)
        times = [(moment - moments[0]) * tick for moment in moments]
        ends = None if ends is None else ends - max(0.0, moments[0] * tick)
        last = max(shown, key=lambda packet: packet.pts or 0).duration
        return _index(times, rate, last * tick if last else None, moments, sorted(keys)), ends

    def _packets(self, container: InputContainer, stream: VideoStream, *,
                 with_end: bool = False) -> Iterator[Packet[VideoStream]]:
        count = 0
        for packet in container.demux(stream):
            if packet.size:
                count += 1
                if count > self.limits.max_frames:
                    raise DataError(f"{self.name} has more than {self.limits.max_frames:,} frames, which is all that is allowed"
                                    " (media.max_frames); give a shorter one.", kind="video too long")
                yield packet
            elif with_end and packet.dts is None and packet.pts is None:  # makes the decoder give what it holds
                yield packet

    def _decoded_index(self, rate: float) -> FrameIndex:
        """Number the frames as they are decoded; where time goes back or is missing, it goes on by a frame."""
        times: list[float] = []
        before: float | None = None
        for frame in self._decoded():
            now = None if frame.pts is None or frame.time_base is None else float(frame.pts * frame.time_base)
            step = 1 / rate if now is None or before is None or now <= before else now - before
            times.append(times[-1] + step if times else 0.0)
            before = now if now is not None else before
        if not times:
            raise DataError(f"{self.name} holds no frame, but must be a video.", kind="unreadable video")
        return _index(times, rate, None)

    def _decoded(self) -> Iterator[VideoFrame]:
        """Decode the whole file; packets that hold no complete frame are skipped, as at the joint of two files."""
        import av

        with self.opened() as (container, stream):
            decoder = TrackDecoder(stream)
            for packet in self._packets(container, stream, with_end=True):
                try:
                    yield from decoder.decode(packet)
                except av.error.InvalidDataError:
                    continue

    def _by_number(self, wanted: Sequence[int]) -> Iterator[VideoFrame]:
        numbers = set(wanted)
        return (frame for number, frame in enumerate(self._decoded()) if number in numbers)

    def _by_moment(self, index: FrameIndex, moments: Sequence[int], wanted: Sequence[int]) -> Iterator[VideoFrame]:
        """Jump to the key frame before each moment; where that misses, decode the file from its beginning."""
        asked = sorted({moments[number] for number in wanted})
        found = 0
        with self.opened() as (container, stream):
            for frame in _seek_frames(container, stream, index.keys, asked):
                yield frame
                found += 1
        if found < len(asked):
            yield from self._forward(asked[found:])

    def _forward(self, asked: Sequence[int]) -> Iterator[VideoFrame]:
        """Decode from the beginning; gives for each moment the frame that is shown then."""
        shown, waiting = None, list(asked)
        for frame in self._decoded():
            if frame.pts is None:
                continue
            while waiting and frame.pts >= waiting[0]:
                yield frame if frame.pts == waiting[0] or shown is None else shown
                waiting.pop(0)
            shown = frame
            if not waiting:
                return

    def _check_pixels(self, width: int, height: int) -> None:
        if width * height > self.limits.max_pixels:
            raise DataError(f"{self.name} has frames of {width} x {height} pixels, but at most {self.limits.max_pixels:,} are"
                            " allowed (media.max_pixels); make it smaller.", kind="unreadable video")

    def _pixels(self, frame: VideoFrame) -> Pixels:
        self._check_pixels(frame.width, frame.height)
        return frame_pixels(frame)


def _seek_frames(container: InputContainer, stream: VideoStream, keys: Sequence[int],
                 asked: Sequence[int]) -> Iterator[VideoFrame]:
    """Give the frames at some moments, in order; ends at the first one that is missed."""
    import av

    frames: Iterator[VideoFrame] = iter(())
    decoder = TrackDecoder(stream)
    at: int | None = None  # the last moment that was decoded
    try:
        for moment in asked:
            key = keys[max(0, bisect_right(keys, moment) - 1)] if keys else asked[0]
            if at is None or key > at:
                container.seek(key, stream=stream)
                decoder.reset()
                frames = (frame for packet in container.demux(stream) for frame in decoder.decode(packet))
            for frame in frames:
                at = frame.pts
                if at == moment:
                    yield frame
                if at is None or at >= moment:
                    break
            if at != moment:
                return
    except av.FFmpegError:
        return


def _index(times: list[float], rate: float, last: float | None, moments: Sequence[int] | None = None,
           keys: Sequence[int] = ()) -> FrameIndex:
    """Make an index; a video of varying rate is counted by the rate that its frames mostly follow each other by."""
    found = FrameIndex(tuple(times), rate, len(times) / rate, None if moments is None else tuple(moments), tuple(keys))
    steps = [after - before for before, after in pairwise(times) if after > before]
    if found.is_even or not steps:
        return found
    rate = min(1 / median(steps), FASTEST)
    return FrameIndex(found.times, rate, times[-1] + (last or 1 / rate), found.moments, found.keys)


def _is_cover(stream: VideoStream) -> bool:
    return "attached_pic" in stream.disposition.name.lower() if stream.disposition.name else False


def _stated_seconds(stream: VideoStream) -> float | None:
    """Give the end that Matroska's tag of a stream states."""
    hours, _, rest = stream.metadata.get("DURATION", "").partition(":")
    minutes, _, seconds = rest.partition(":")
    try:
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        return None
