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
HEAD = 512  # bytes that tell a format
ID3 = 10  # bytes of the header of an ID3 tag
PACKET = 188  # bytes of a packet of MPEG-TS
ARTICLES = {"audio file": "an audio file", "image": "an image", "video": "a video"}
_MAGIC: tuple[tuple[int, bytes, str], ...] = (  # offset, bytes, format
    (0, b"OggS", "ogg"), (0, b"\x1aE\xdf\xa3", "matroska"), (4, b"ftyp", "mov"), (4, b"moov", "mov"), (4, b"mdat", "mov"),
    (4, b"wide", "mov"), (4, b"skip", "mov"), (4, b"free", "mov"), (4, b"pnot", "mov"), (0, b"#!AMR", "amr"),
    (0, bytes.fromhex("3026b2758e66cf11"), "asf"), (0, b"FLV\x01", "flv"), (0, b"\0\0\x01\xba", "mpeg"), (0, b"GIF8", "gif"),
    (0, b"wvpk", "wv"), (0, b"TTA1", "tta"), (0, b"MAC ", "ape"), (0, b"fLaC", "flac"), (8, b"AVI ", "avi"),
    (8, b"WAVE", "wav"), (0, b"caff", "caf"), (0, b".snd", "au"), (0, b"dns.", "au"), (0, b"riff\x2e\x91\xcf\x11", "w64"),
    (8, b"AIFF", "aiff"), (8, b"AIFC", "aiff"),
)


def container_format(file: BinaryIO) -> str | None:
    """Give the name of a file's container format, as FFmpeg has it, or None; leaves the file at its beginning."""
    found = _by_head(_head(file, 0), file)
    file.seek(0)
    return found


def _by_head(head: bytes, file: BinaryIO) -> str | None:
    if head[:3] == b"ID3" and len(head) >= ID3:  # a tag in front of MP3, AAC or FLAC
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        inner = _head(file, size + ID3).lstrip(b"\0")
        return _by_head(inner, file) if inner[:3] != b"ID3" else "mp3"
    for offset, magic, name in _MAGIC:
        if head[offset:offset + len(magic)] == magic:
            return name
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:  # the sync word of MPEG audio; layer 0 is AAC's
        return "mp3" if head[1] & 0x06 else "aac" if head[1] & 0xF0 == 0xF0 else None
    for start in (0, 4):  # 4: packets with a time code, of cameras
        step = PACKET + start
        if head[start:start + 1] == b"G" and head[start + step:start + step + 1] in (b"G", b"") and len(head) >= PACKET:
            return "mpegts"
    return None


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
