"""The bytes of audio that a header states: what is cut short, and what a pipe wrote before it had a size. Decodes nothing."""

from __future__ import annotations

import io
import math
import os
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, cast

if TYPE_CHECKING:
    from typing_extensions import Buffer

PIPED_SIZE = 0x7FFF0000  # what is written to a pipe has no size yet, and this or more in the header, or none
PIPED_AIFF = 0x7F000000  # as sox writes it
UNSTATED = 1 << 62  # bytes; a header of 64 bits that states more, or less than none, states nothing
CHUNK = 8  # bytes of a chunk's name and size
GUID = 16  # bytes of the name of a chunk of W64
ASF_PROPERTIES, ASF_HEAD = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365"), 4096  # an object, within so many bytes
OGG_HEADER = 27  # bytes of a page
SEGMENT = b"\x18\x53\x80\x67"  # of Matroska


@dataclass(frozen=True)
class DataChunk:
    """Where the samples of an audio file lie.

    Args:
        start: their first byte.
        promised: bytes that the header states.
        there: bytes from `start` to the end of the file.
        patches: what makes the header of a piped file state the bytes that are there: places and bytes.
        is_piped: the header's size means: to the end.
    """

    start: int
    promised: int
    there: int
    patches: tuple[tuple[int, bytes], ...] = ()
    is_piped: bool = False

    @property
    def missing(self) -> int:
        """Bytes that a file lacks."""
        return 0 if self.is_piped else max(0, self.promised - self.there)

    @property
    def end(self) -> int:
        """The first byte behind the samples."""
        return self.start + (self.there if self.is_piped else min(self.promised + self.promised % 2, self.there))


def data_chunk(file: BinaryIO) -> DataChunk | None:
    """Find the samples of a WAV (RF64 too), AIFF, AU, CAF or W64; None in other files, and where there are none."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(40)
    reader = next((reader for place, mark, reader in READERS if head[place:place + len(mark)] == mark), None)
    return reader(file, head, size) if reader else None


def missing_bytes(file: BinaryIO, container: str) -> int:
    """Give the bytes that a file lacks by its header; 0 where that does not state them."""
    if container in STATED_ENDS:
        size = file.seek(0, os.SEEK_END)
        return max(0, STATED_ENDS[container](file) - size)
    chunk = data_chunk(file)
    return chunk.missing if chunk else 0


def _avi_end(file: BinaryIO) -> int:
    file.seek(0)
    size = int.from_bytes(file.read(8)[4:], "little")
    return 0 if size >= PIPED_SIZE else size + CHUNK


def _ogg_end(file: BinaryIO) -> int:
    at = 0
    while True:
        file.seek(at)
        page = file.read(OGG_HEADER)
        if page[:4] != b"OggS" or len(page) < OGG_HEADER:
            return at
        at += OGG_HEADER + page[26] + sum(file.read(page[26]))


def _asf_end(file: BinaryIO) -> int:
    """Give the size that a WMA states, unless it was written while it was sent."""
    file.seek(0)
    head = file.read(ASF_HEAD)
    at = head.find(ASF_PROPERTIES)
    is_live = at < 0 or head[at + 88:at + 89] in (b"", b"\1", b"\3")
    return 0 if is_live else int.from_bytes(head[at + 40:at + 48], "little")


def _sphere_end(file: BinaryIO) -> int:
    """Give where the samples of a NIST SPHERE end by its header, a text of lines such as `sample_count -i 16000`."""
    file.seek(0)
    head = file.read(1024)
    size, found = head[8:16].split(), dict(re.findall(rb"(\w+) -i (\d+)", head))
    counts = [int(found.get(name, b"1")) for name in (b"sample_count", b"sample_n_bytes", b"channel_count")]
    return int(size[0]) + math.prod(counts) if size and size[0].isdigit() and b"sample_count" in found else 0


def _mov_end(file: BinaryIO) -> int:
    """Give where the last box of an MP4 ends."""
    at = 0
    while True:
        file.seek(at)
        head = file.read(16)
        size = int.from_bytes(head[8:16]) if head[:4] == b"\0\0\0\1" else int.from_bytes(head[:4])
        if len(head) < CHUNK or size < CHUNK:  # 0: to the end
            return at
        at += size


def _matroska_end(file: BinaryIO) -> int:
    """Give where the segment behind the EBML header ends; 0: not stated, as in a stream."""
    file.seek(4)
    file.seek(_ebml_size(file), os.SEEK_CUR)
    if file.read(4) != SEGMENT:
        return 0
    size = _ebml_size(file)
    return file.tell() + size if size else 0


def _ebml_size(file: BinaryIO) -> int:
    """Read a size of 1 to 8 bytes, whose first bit that is set gives how many; 0: all of its bits are set."""
    first = file.read(1)
    if not first or not first[0]:
        return 0
    bits = 8 - first[0].bit_length()
    read = int.from_bytes(first + file.read(bits))
    size = read & ((1 << 7 * (bits + 1)) - 1)
    return 0 if size == (1 << 7 * (bits + 1)) - 1 else size


def _riff(file: BinaryIO, head: bytes, size: int) -> DataChunk | None:
    """RIFF; a file of more than 4 GB (RF64) states 0xffffffff, and the size in a chunk of its own."""
    order = ">" if head[:4] in (b"RIFX", b"FFIR") else "<"
    large: int | None = None
    for name, start, stated in _chunks(file, f"{order}4sI", 12):
        if name == b"ds64":
            large = int(struct.unpack("<8xQ", file.read(16).ljust(16, b"\0"))[0])
        if name != b"data":
            continue
        there = size - start
        if large is not None and stated == 0xFFFFFFFF and 0 < large < UNSTATED:
            return DataChunk(start, large, there)
        is_empty = not stated or (large is not None and stated == 0xFFFFFFFF)
        is_piped = stated > there if stated >= PIPED_SIZE else is_empty and there > 0 and not _is_chunk(file.read(CHUNK), there)
        patches = ((0, b"RIFF" if order == "<" else head[:4]), (4, struct.pack(f"{order}I", min(size - CHUNK, 0xFFFFFFFF))),
                   (start - 4, struct.pack(f"{order}I", min(there, 0xFFFFFFFF))))
        return DataChunk(start, stated, there, (*patches, (12, b"JUNK")) if head[12:16] == b"ds64" else patches, is_piped)
    return None


def _aiff(file: BinaryIO, head: bytes, size: int) -> DataChunk | None:
    """AIFF; what is written to a pipe states a size that libsndfile takes as it is."""
    for name, start, stated in _chunks(file, ">4sI", 12):
        if name == b"SSND":
            return DataChunk(start, stated, size - start, is_piped=stated >= PIPED_AIFF or not stated)
    return None


def _au(file: BinaryIO, head: bytes, size: int) -> DataChunk:
    start, stated = struct.unpack(f"{'>' if head[:1] == b'.' else '<'}4xII", head[:12].ljust(12, b"\0"))
    return DataChunk(start, stated, max(0, size - start), is_piped=stated >= PIPED_SIZE or not stated)


def _caf(file: BinaryIO, head: bytes, size: int) -> DataChunk | None:
    for name, start, stated in _chunks(file, ">4sQ", 8):
        if name == b"data":
            return DataChunk(start, stated, size - start, is_piped=not 0 < stated < UNSTATED)
    return None


def _w64(file: BinaryIO, head: bytes, size: int) -> DataChunk | None:
    """Sony Wave64: names of 16 bytes, sizes that count their own header, to a multiple of 8."""
    at = GUID + 8 + GUID
    while at + GUID + 8 <= size:
        file.seek(at)
        name, stated = struct.unpack("<4s12xQ", file.read(GUID + 8))
        start = at + GUID + 8
        if name == b"data":
            is_piped = not GUID + 8 < stated < UNSTATED and size > start
            patches = ((GUID, struct.pack("<Q", size)), (at + GUID, struct.pack("<Q", size - at)))
            return DataChunk(start, max(0, stated - GUID - 8), size - start, patches, is_piped)
        at += max(GUID + 8, stated + -stated % 8)
    return None


def _chunks(file: BinaryIO, layout: str, at: int) -> Iterator[tuple[bytes, int, int]]:
    """Walk chunks: name, place of the content, stated size; the file stands at the content."""
    header = struct.calcsize(layout)
    while True:
        file.seek(at)
        read = file.read(header)
        if len(read) < header:
            return
        name, size = struct.unpack(layout, read)
        yield name, at + header, size
        if size >= UNSTATED:
            return
        at += header + size + (size % 2 if header == CHUNK else 0)


def _is_chunk(header: bytes, there: int) -> bool:
    """Say whether a chunk begins here: four letters and a size that fits; audio behind an empty data chunk does not."""
    if len(header) < CHUNK:
        return False
    name, size = struct.unpack("<4sI", header)
    return all(32 <= byte < 127 for byte in name) and size <= there - CHUNK


def sized(file: BinaryIO) -> BinaryIO:
    """Give a file as libsndfile can read it, from its beginning: one that a pipe wrote gets the sizes that it has."""
    chunk = data_chunk(file)
    file.seek(0)
    if chunk is None or not chunk.is_piped or not chunk.patches:
        return file
    header = bytearray(file.read(chunk.start))
    for place, patch in chunk.patches:
        header[place:place + len(patch)] = patch
    return cast(BinaryIO, FileView(file, 0, chunk.start + chunk.there, bytes(header)))


class FileView(io.RawIOBase):
    """A stretch of a file as a file, with other bytes in the place of its first ones; nothing else is copied."""

    def __init__(self, file: BinaryIO, start: int, end: int, header: bytes = b"") -> None:
        super().__init__()
        self.file, self.start, self.length, self.header, self.at = file, start, end - start, header, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.at

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self.at = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.at, os.SEEK_END: self.length}[whence])
        return self.at

    def readinto(self, buffer: Buffer, /) -> int:
        view = memoryview(buffer).cast("B")
        found = self.header[self.at:self.at + len(view)]
        if not found:
            self.file.seek(self.start + self.at)
            found = self.file.read(max(0, min(len(view), self.length - self.at)))
        view[:len(found)] = found
        self.at += len(found)
        return len(found)


READERS: tuple[tuple[int, bytes, Callable[[BinaryIO, bytes, int], DataChunk | None]], ...] = (
    (8, b"WAVE", _riff), (8, b"AIFF", _aiff), (8, b"AIFC", _aiff), (0, b".snd", _au), (0, b"dns.", _au), (0, b"caff", _caf),
    (0, b"riff\x2e\x91", _w64))
STATED_ENDS: dict[str, Callable[[BinaryIO], int]] = {"mov": _mov_end, "avi": _avi_end, "matroska": _matroska_end,
                                                         "ogg": _ogg_end, "asf": _asf_end, "nistsphere": _sphere_end}
