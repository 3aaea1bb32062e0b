"""The sizes in a WAV file's header: what is cut short, and what a pipe wrote before it had a size."""

from __future__ import annotations

import io
import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from typing_extensions import Buffer

PIPED_SIZE = 0x7FFF0000  # what is written to a pipe has no size yet, and this or more in the header, or none
CHUNK = 8  # bytes of a chunk's name and size


@dataclass(frozen=True)
class DataChunk:
    """Where the samples of a WAV file lie.

    Args:
        start: their first byte.
        promised: bytes that the header states.
        there: bytes from `start` to the end of the file.
    """

    start: int
    promised: int
    there: int

    @property
    def is_piped(self) -> bool:
        """The header's size means: to the end."""
        return self.promised >= PIPED_SIZE and self.promised > self.there

    @property
    def missing(self) -> int:
        """Bytes that a file lacks."""
        return 0 if self.is_piped else max(0, self.promised - self.there)


def data_chunk(file: BinaryIO) -> DataChunk | None:
    """Find the data chunk of a RIFF WAV; None in other files, RF64 among them, and in a WAV without one."""
    length = file.seek(0, os.SEEK_END)
    file.seek(0)
    if file.read(4) != b"RIFF" or file.seek(4, os.SEEK_CUR) != CHUNK or file.read(4) != b"WAVE":
        return None
    while len(header := file.read(CHUNK)) == CHUNK:
        name, size = struct.unpack("<4sI", header)
        if name == b"data":
            start = file.tell()
            if not size and length > start and not _is_chunk(file.read(CHUNK), length - start):
                size = 0xFFFFFFFF
            return DataChunk(start, size, length - start)
        file.seek(size + size % 2, os.SEEK_CUR)
    return None


def _is_chunk(header: bytes, there: int) -> bool:
    """Say whether a chunk begins here: four letters and a size that fits; audio behind an empty data chunk does not."""
    if len(header) < CHUNK:
        return False
    name, size = struct.unpack("<4sI", header)
    return all(32 <= byte < 127 for byte in name) and size <= there - CHUNK


class SizedWAV(io.RawIOBase):
    """A WAV file that a pipe wrote, with the sizes that it has; nothing is copied but the header."""

    def __init__(self, file: BinaryIO, chunk: DataChunk) -> None:
        super().__init__()
        self.file, self.at = file, 0
        file.seek(0)
        header = bytearray(file.read(chunk.start))
        self.length = chunk.start + chunk.there
        struct.pack_into("<I", header, 4, min(self.length - CHUNK, 0xFFFFFFFF))
        struct.pack_into("<I", header, chunk.start - 4, min(chunk.there, 0xFFFFFFFF))
        self.header = bytes(header)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.at

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self.at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.at, os.SEEK_END: self.length}[whence]
        return self.at

    def readinto(self, buffer: Buffer, /) -> int:
        view = memoryview(buffer).cast("B")
        found = self.header[self.at:self.at + len(view)]
        if not found:
            self.file.seek(self.at)
            found = self.file.read(len(view))
        view[:len(found)] = found
        self.at += len(found)
        return len(found)
