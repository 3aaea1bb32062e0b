"""PNG files where Pillow is not enough: how the camera was held, without decoding, and whether all rows are there."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

SIGNATURE = 8  # bytes
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by type of colour
ADAM7 = ((0, 8, 0, 8), (4, 8, 0, 8), (0, 4, 4, 8), (2, 4, 0, 4), (0, 2, 2, 4), (1, 2, 0, 2), (0, 1, 1, 2))
"""Passes of an interlaced image: first column and step, first row and step."""
BLOCK = 1 << 20  # bytes that are inflated at once


def exif_chunk(file: BinaryIO) -> bytes | None:
    """Give the EXIF of a PNG, wherever it stands; None where it has none."""
    return next((file.read(size) for name, size in _chunks(file) if name == b"eXIf"), None)


def has_all_rows(file: BinaryIO) -> bool:
    """Say whether the compressed data of a PNG holds all of its rows; decoders leave those that are missing black."""
    expected, found, inflate = 0, 0, zlib.decompressobj()
    for name, size in _chunks(file):
        if name == b"IHDR":
            expected = _row_bytes(file.read(size))
        elif name == b"IDAT":
            try:
                data = inflate.decompress(file.read(size), BLOCK)
                found += len(data)
                while inflate.unconsumed_tail and found < expected:
                    found += len(inflate.decompress(inflate.unconsumed_tail, BLOCK))
            except zlib.error:
                return False
            if found >= expected:
                return True
    return found >= expected


def _row_bytes(header: bytes) -> int:
    """Give the bytes of all rows; each begins with one that names its filter."""
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    bits = depth * CHANNELS.get(colour, 1)
    total = 0
    for column, wide, row, high in ADAM7 if interlaced else ((0, 1, 0, 1),):
        columns, rows = -(-(width - column) // wide), -(-(height - row) // high)
        total += rows * (1 + (columns * bits + 7) // 8) if columns > 0 and rows > 0 else 0
    return total


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Walk the chunks: name and size; the file stands at the content."""
    at = SIGNATURE
    while True:
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            return
        size = int.from_bytes(head[:4])
        yield head[4:], size
        at += 12 + size
