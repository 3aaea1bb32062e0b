"""Which container an audio file is, by its first bytes, and who reads it. Nothing else is opened: no playlist, no address."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

HEAD = 64  # bytes that say what a file is
ID3_HEADER, OGG_HEADER = 10, 27  # bytes
EBML = b"\x1aE\xdf\xa3"  # WebM and Matroska
ASF = bytes.fromhex("3026b2758e66cf11")
PLAIN = "WAV, FLAC, OGG, MP3, M4A, AAC, WebM, AIFF, AU, CAF, W64, AMR or WMA"


@dataclass(frozen=True)
class Container:
    """A declared container format.

    Args:
        name: as people call it.
        ffmpeg: FFmpeg's name of its demuxer; None where libsndfile reads it.
    """

    name: str
    ffmpeg: str | None = None


def find_container(file: BinaryIO) -> Container | None:
    """Give the container of a file, read from its start; None where it is none that is declared."""
    file.seek(0)
    head = file.read(HEAD)
    skipped = 0
    while head[:3] == b"ID3" and len(head) >= ID3_HEADER:  # tags may stand before MP3, AAC, FLAC and AIFF
        skipped += ID3_HEADER + synchsafe(head[6:10])
        file.seek(skipped)
        head = file.read(HEAD)
    file.seek(0)
    found = _known(head)
    if found is None and skipped:
        return Container("MP3", "mp3")
    return found


def ogg_links(file: BinaryIO) -> list[int]:
    """Give where each of the streams of an OGG file begins, walking from page to page; libsndfile reads the first alone."""
    file.seek(0)
    starts, begins, at = [], False, 0
    while len(page := file.read(OGG_HEADER)) == OGG_HEADER and page[:4] == b"OggS":
        before, begins = begins, bool(page[5] & 2)
        if begins and not before:  # several streams side by side begin with pages one behind the other
            starts.append(at)
        sizes = file.read(page[26])
        at += OGG_HEADER + len(sizes) + sum(sizes)
        file.seek(at)
    return starts


def _known(head: bytes) -> Container | None:
    for place, mark, container in MARKS:
        if head[place:place + len(mark)] == mark:
            return container
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:  # 12 bits of sync, layer 0
        return Container("AAC", "aac")
    if len(head) > 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[1] & 0x06 and head[2] >> 4 not in (0, 15):
        return Container("MP3", "mp3")
    return None


def synchsafe(four: bytes) -> int:
    """Read a length of ID3: four bytes of seven bits."""
    return sum((byte & 0x7F) << shift for byte, shift in zip(four, (21, 14, 7, 0), strict=True))


MARKS: tuple[tuple[int, bytes, Container], ...] = (
    (8, b"WAVE", Container("WAV")), (0, b"riff\x2e\x91\xcf\x11", Container("W64")), (8, b"AIFF", Container("AIFF")),
    (8, b"AIFC", Container("AIFF")), (0, b".snd", Container("AU")), (0, b"dns.", Container("AU")),
    (0, b"caff", Container("CAF")), (0, b"fLaC", Container("FLAC")), (0, b"OggS", Container("OGG")),
    (0, b"NIST_1A", Container("NIST SPHERE")), (0, b"Creative Voice File", Container("VOC")),
    (4, b"ftyp", Container("MP4", "mp4")), (0, EBML, Container("WebM", "matroska")), (0, ASF, Container("WMA", "asf")),
    (0, b"#!AMR", Container("AMR", "amr")), (8, b"AVI ", Container("AVI", "avi")))
