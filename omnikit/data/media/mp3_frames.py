"""How long an MP3 is: its frames are counted, because its header has an estimate or nothing. Decodes nothing.

Source: ISO 11172-3 and 13818-3 (frame header); the Xing, LAME and VBRI tags as encoders write them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from omnikit.data.media.audio_formats import ID3_HEADER, synchsafe

RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # MPEG 1, 2, 2.5
BITRATES = {  # (MPEG 1, layer): kbit/s
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)}
XING_FRAMES, XING_BYTES, XING_TOC, XING_QUALITY = 1, 2, 4, 8  # flags of what a tag holds, in this order
LAME_DELAYS = 21  # bytes from the LAME tag's start to both delays, 12 bits each
VBRI_PLACE = 36  # of its tag in a frame


@dataclass(frozen=True)
class MP3Part:
    """A stretch of a file that one encoder wrote; joined files have several.

    Args:
        start: its first byte, `end`: the byte behind its last one.
        samples: of each channel, without what the encoder added at both ends by its tag.
        rate: per second.
        missing: frames that its tag promises and that are not there.
    """

    start: int
    end: int
    samples: int
    rate: int
    missing: int


@dataclass(frozen=True)
class _Frame:
    start: int
    size: int
    samples: int
    rate: int
    tag: int  # where a Xing tag would stand in the file


def mp3_parts(data: bytes) -> list[MP3Part]:
    """Count the frames of a file, part by part; a frame with a tag begins a part. Empty where there is no frame."""
    parts: list[MP3Part] = []
    own: list[_Frame] = []
    promised = trimmed = 0
    start: int | None = None
    for frame in _frames(data):
        tag = _tag(data, frame)
        if tag is None:
            start = frame.start if start is None else start
            own.append(frame)
            continue
        if own and start is not None:
            parts.append(_part(start, own, promised, trimmed))
        own, (promised, trimmed), start = [], tag, frame.start
    return [*parts, _part(start, own, promised, trimmed)] if own and start is not None else parts


def _part(start: int, frames: list[_Frame], promised: int, trimmed: int) -> MP3Part:
    samples = sum(frame.samples for frame in frames) - trimmed
    return MP3Part(start, frames[-1].start + frames[-1].size, max(0, samples), frames[0].rate, max(0, promised - len(frames)))


def _frames(data: bytes) -> Iterator[_Frame]:
    """Find all frames; a first one counts where a second one follows, later ones wherever they are."""
    at, found = 0, False
    while 0 <= at <= len(data) - 4:
        if data[at:at + 3] == b"ID3":
            at += ID3_HEADER + synchsafe(data[at + 6:at + ID3_HEADER])
            continue
        frame = _frame(data, at)
        if frame is None or (not found and at + frame.size < len(data) - 4 and _frame(data, at + frame.size) is None):
            sync = data.find(b"\xff", at + 1)
            tag = data.find(b"ID3", at + 1, sync) if sync > 0 else -1
            at = tag if tag > 0 else sync
            continue
        if at + frame.size > len(data):  # its end is missing: a decoder gives nothing of it
            return
        found = True
        yield frame
        at += frame.size


def _frame(data: bytes, at: int) -> _Frame | None:
    head = data[at:at + 4]
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    bits, rate_index, padding, mono = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1, head[3] >> 6 == 3
    if version == 1 or layer == 4 or bits in (0, 15) or rate_index == 3:
        return None
    rate, kilobits = RATES[version][rate_index], BITRATES[version == 3, layer][bits - 1]
    samples = 384 if layer == 1 else 1152 if layer == 2 or version == 3 else 576
    slot = 4 if layer == 1 else 1
    size = (samples // 8 * kilobits * 1000 // rate // slot + padding) * slot
    side = (17 if mono else 32) if version == 3 else (9 if mono else 17)
    return _Frame(at, size, samples, rate, at + 4 + side)


def _tag(data: bytes, frame: _Frame) -> tuple[int, int] | None:
    """Give the frames that a frame's tag promises and the samples that it cuts off; None where it holds audio instead."""
    if data[frame.start + VBRI_PLACE:frame.start + VBRI_PLACE + 4] == b"VBRI":
        place = frame.start + VBRI_PLACE + 14
        return int.from_bytes(data[place:place + 4]), 0
    if data[frame.tag:frame.tag + 4] not in (b"Xing", b"Info"):
        return None
    flags, at = int.from_bytes(data[frame.tag + 4:frame.tag + 8]), frame.tag + 8
    promised = int.from_bytes(data[at:at + 4]) if flags & XING_FRAMES else 0
    for flag, size in ((XING_FRAMES, 4), (XING_BYTES, 4), (XING_TOC, 100), (XING_QUALITY, 4)):
        at += size if flags & flag else 0
    delays = data[at + LAME_DELAYS:at + LAME_DELAYS + 3] if data[at:at + 4] in (b"LAME", b"Lavf", b"Lavc") else b""
    both = int.from_bytes(delays)
    return promised, (both >> 12) + (both & 0xFFF)
