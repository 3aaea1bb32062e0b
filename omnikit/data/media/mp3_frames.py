"""How long an MP3 is: its frames are counted, because its header has an estimate or nothing. Decodes nothing.

Source: ISO 11172-3 and 13818-3 (frame header); the Xing, LAME and VBRI tags as encoders write them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from omnikit.data.media.containers import APE, ID3, synchsafe

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
CHAIN = 3  # frames of one kind that must follow a first one
MARGIN = 4096  # samples that are counted beyond what is needed: a decoder's delay


@dataclass(frozen=True)
class MP3Part:
    """Frames that one encoder wrote; joined files have several parts.

    Args:
        data: its frames without what lies between them.
        samples: of each channel, without what the encoder added at both ends by its tag.
        rate: per second.
        missing: frames that its tag promises and that are not there.
    """

    data: bytes
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


def has_frames(data: bytes) -> bool:
    """Say whether frames of one rate follow each other somewhere in the first bytes of a file that begins with others."""
    at = data.find(b"\xff")
    while at >= 0:
        if (first := _frame(data, at)) and _is_chain(data, first, complete=True):
            return True
        at = data.find(b"\xff", at + 1)
    return False


def mp3_parts(data: bytes, seconds: float | None = None) -> Iterator[MP3Part]:
    """Count the frames of a file, part by part; a frame with a tag, or of another rate, begins a part.

    Args:
        seconds: of audio behind which no more is counted, of the last part then.
    """
    tag: tuple[int, int] = (0, 0)
    first: _Frame | None = None
    own: list[_Frame] = []
    left = float("inf") if seconds is None else seconds
    for frame in _frames(data):
        found = _tag(data, frame)
        if own and (found is not None or frame.rate != own[0].rate):
            yield (part := _part(data, first, own, tag))
            left -= part.samples / part.rate
            tag, first, own = (0, 0), None, []
        if found is not None:
            tag, first = found, frame
            continue
        own.append(frame)
        if len(own) * frame.samples > left * frame.rate + MARGIN:
            yield _part(data, first, own, (0, tag[1]))
            return
    if own:
        yield _part(data, first, own, tag)


def _part(data: bytes, tag_frame: _Frame | None, frames: list[_Frame], tag: tuple[int, int]) -> MP3Part:
    promised, trimmed = tag
    samples = sum(frame.samples for frame in frames) - trimmed
    joined = b"".join(data[frame.start:frame.start + frame.size] for frame in ([tag_frame] if tag_frame else []) + frames)
    return MP3Part(joined, max(0, samples), frames[0].rate, max(0, promised - len(frames)))


def _frames(data: bytes) -> Iterator[_Frame]:
    """Find all frames; one behind other bytes counts where more of its kind follow it."""
    at, synced, found = 0, False, False
    while 0 <= at <= len(data) - 4:
        if tag := _tag_size(data, at):
            at, synced = at + tag, False
            continue
        frame = _frame(data, at)
        if frame is None or not (synced or _is_chain(data, frame, complete=found)):
            synced = False
            marks = [place for mark in (b"\xff", b"ID3", b"APETAGEX") if (place := data.find(mark, at + 1)) > 0]
            at = min(marks, default=-1)
            continue
        if at + frame.size > len(data):  # its end is missing: a decoder gives nothing of it
            return
        synced = found = True
        yield frame
        at += frame.size


def _tag_size(data: bytes, at: int) -> int:
    """Give the bytes of a tag that begins here; 0: none does."""
    head = data[at:at + APE]
    if head[:3] == b"ID3":
        return ID3 + synchsafe(head[6:ID3]) if len(head) >= ID3 else 0
    if head[:8] != b"APETAGEX" or len(head) < APE:
        return 0
    return APE + (int.from_bytes(head[12:16], "little") if head[23] & 0x20 else 0)  # a header, or what stands behind a tag


def _is_chain(data: bytes, frame: _Frame, complete: bool = False) -> bool:
    """Say whether frames of one kind follow a frame, or the end of the file, unless the chain must be complete."""
    at = frame.start + frame.size
    for _ in range(CHAIN):
        if not complete and (at > len(data) - 4 or data[at:at + 3] in (b"TAG", b"ID3", b"APE", b"LYR")):
            return True
        following = _frame(data, at)
        if following is None or (following.rate, following.samples) != (frame.rate, frame.samples):
            return False
        at += following.size
    return at <= len(data) or not complete


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
