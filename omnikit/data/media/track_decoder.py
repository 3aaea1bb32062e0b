"""Packets of a video track decoded to frames, with the transparency of a WebM, which FFmpeg's own decoders drop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.codeccontext import VideoCodecContext
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # decoders that read the second image of a packet


class TrackDecoder:
    """Owns the decoder of one track; a seek in its container needs a `reset`."""

    def __init__(self, stream: VideoStream) -> None:
        self._context: VideoCodecContext | None = None
        name = WITH_ALPHA.get(stream.codec_context.name) if stream.metadata.get("alpha_mode") == "1" else None
        if name is not None:
            self._context = _context(name)

    def decode(self, packet: Packet[VideoStream]) -> Iterator[VideoFrame]:
        """Give the frames that a packet completes; an empty packet gives the last ones."""
        if self._context is None:
            yield from packet.decode()  # type: ignore[misc]  # of a video stream: frames
            return
        for frame in self._context.decode(packet if packet.size else None):
            frame.time_base = packet.time_base
            yield frame

    def reset(self) -> None:
        """Forget the frames before a seek."""
        if self._context is not None:
            self._context.flush_buffers()


def _context(name: str) -> VideoCodecContext | None:
    import av
    from av.video.codeccontext import VideoCodecContext

    found = av.CodecContext.create(name, "r") if name in av.codecs_available else None
    return found if isinstance(found, VideoCodecContext) else None
