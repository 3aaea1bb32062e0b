"""Which container format a file has, by its first bytes, and files opened within limits. Decodes nothing.

The format is always passed to the library that reads it: its own search would also find formats that name other files.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from omnikit.errors import DataError
from omnikit.recipe.media import MediaLimits

if TYPE_CHECKING:
    from av.container import InputContainer

Source = str | Path | bytes | BinaryIO  # an open file stays open
DEFAULTS = MediaLimits()
HEAD = 1536  # bytes that tell a format
ID3, APE = 10, 32  # bytes of the headers of tags
PACKETS = (188, 192, 204)  # bytes of a packet of MPEG-TS: plain, with a time code of a camera, with a check sum
SYNCS = 5  # packets that must follow each other where a file begins inside one
ARTICLES = {"audio file": "an audio file", "image": "an image", "video": "a video"}
_MAGIC: tuple[tuple[int, bytes, str], ...] = (  # offset, bytes, format
    (0, b"OggS", "ogg"), (0, b"\x1aE\xdf\xa3", "matroska"), (4, b"ftyp", "mov"), (4, b"moov", "mov"), (4, b"mdat", "mov"),
    (4, b"wide", "mov"), (4, b"skip", "mov"), (4, b"free", "mov"), (4, b"pnot", "mov"), (4, b"styp", "mov"),
    (0, b"#!AMR", "amr"), (0, bytes.fromhex("3026b2758e66cf11"), "asf"), (0, b"FLV\x01", "flv"), (0, b"\0\0\x01\xba", "mpeg"),
    (0, b"GIF8", "gif"), (0, b"wvpk", "wv"), (0, b"TTA1", "tta"), (0, b"MAC ", "ape"), (0, b"fLaC", "flac"),
    (8, b"AVI ", "avi"), (8, b"WAVE", "wav"), (0, b"caff", "caf"), (0, b".snd", "au"), (0, b"dns.", "au"),
    (0, b"riff\x2e\x91\xcf\x11", "w64"), (8, b"AIFF", "aiff"), (8, b"AIFC", "aiff"), (0, b"NIST_1A", "nistsphere"),
    (0, b"Creative Voice File", "voc"),
)


def container_format(file: BinaryIO) -> str | None:
    """Give the name of a file's container format, as FFmpeg has it, or None; leaves the file at its beginning."""
    tags = _tags_end(file)
    found = _by_head(_head(file, tags).lstrip(b"\0") if tags else _head(file, 0))
    file.seek(0)
    return found or ("mp3" if tags else None)


def _tags_end(file: BinaryIO) -> int:
    """Give where the tags end that stand before MP3, AAC, FLAC, AIFF and others; 0: there are none."""
    at = 0
    while True:
        head = _head(file, at)
        if head[:3] == b"ID3" and len(head) >= ID3:
            at += ID3 + synchsafe(head[6:10]) + (ID3 if head[5] & 0x10 else 0)  # with a footer
        elif head[:8] == b"APETAGEX" and len(head) >= APE:
            at += APE + int.from_bytes(head[12:16], "little")
        else:
            return at


def synchsafe(four: bytes) -> int:
    """Read a length of ID3: four bytes of seven bits."""
    return sum((byte & 0x7F) << shift for byte, shift in zip(four, (21, 14, 7, 0), strict=True))


def _by_head(head: bytes) -> str | None:
    for offset, magic, name in _MAGIC:
        if head[offset:offset + len(magic)] == magic:
            return name
    return _by_sync_word(head) or ("mpegts" if _is_transport_stream(head) else None)


def _by_sync_word(head: bytes) -> str | None:
    """Give the format of frames without a container."""
    if len(head) < 6:
        return None
    if head[0] == 0xFF and head[1] & 0xF6 == 0xF0:  # 12 bits, layer 0
        return "aac"
    if head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[1] & 0x06 and head[2] >> 4 not in (0, 15) and head[2] & 12 != 12:
        return "mp3"
    if head[0] == 0x56 and head[1] & 0xE0 == 0xE0:  # 11 bits; 13 of its size
        following = 3 + ((head[1] & 0x1F) << 8 | head[2])
        return "loas" if head[following:following + 1] in (b"\x56", b"") else None
    if head[:2] == b"\x0b\x77":
        return "ac3" if head[5] >> 3 <= 10 else "eac3"  # the version of its bit stream
    return None


def _is_transport_stream(head: bytes) -> bool:
    if len(head) < PACKETS[0]:
        return False
    if any(head[at:at + 1] == b"G" and head[at + 188 + at:][:1] in (b"G", b"") for at in (0, 4)):
        return True
    return any(len(head) > at + (SYNCS - 1) * step and not head[at:at + (SYNCS - 1) * step + 1:step].strip(b"G")
               for step in PACKETS for at in range(step))


def _head(file: BinaryIO, at: int) -> bytes:
    file.seek(at)
    return file.read(HEAD)


@contextmanager
def open_file(source: Source, name: str, kind: str, limits: MediaLimits = DEFAULTS) -> Iterator[BinaryIO]:
    """Open a file, or bytes, for reading.

    Args:
        name: of the medium in messages.
        kind: "audio file", "image" or "video".

    Raises:
        DataError: there is no file, or it is empty, too large, or may not be read.
    """
    article = ARTICLES[kind]
    if isinstance(source, str | Path):
        path = Path(source)
        if path.is_dir():
            raise DataError(f"{name} is a folder, but {article} should be there.", kind="missing file")
        if not path.is_file():
            raise DataError(f"{name} does not exist, but {article} should be there.", kind="missing file")
    try:
        with _opened(source) as file:
            size = length(file)
            if size > limits.max_bytes:
                raise DataError(f"{name} has {size:,} bytes, but at most {limits.max_bytes:,} are allowed (media.max_bytes);"
                                " make it smaller.", kind="too large")
            if not size:
                raise DataError(f"{name} is not a readable {kind}, but empty: it has 0 bytes; write or copy it again.",
                                kind=f"unreadable {kind.split()[0]}")
            yield file
    except OSError as error:
        raise DataError(f"{name} cannot be read: {error.strerror or error}.", kind="unreadable file") from None


def _opened(source: Source) -> AbstractContextManager[BinaryIO]:
    if isinstance(source, bytes):
        return io.BytesIO(source)
    return Path(source).open("rb") if isinstance(source, str | Path) else nullcontext(source)


def length(file: BinaryIO) -> int:
    """Give the bytes of an open file; leaves it at its beginning."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    return size


@contextmanager
def open_container(file: BinaryIO, container: str, options: Mapping[str, str] | None = None) -> Iterator[InputContainer]:
    """Open a file with PyAV as one format; nothing in it can open another file or address."""
    import av

    file.seek(0)
    with av.open(file, mode="r", format=container, options={"protocol_whitelist": "none", **(options or {})},
                 metadata_errors="replace") as opened:
        yield opened
