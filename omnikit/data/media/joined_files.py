"""Files that were joined byte by byte (`cat a b`): where each of them begins. Decodes nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import chain, islice, pairwise
from typing import BinaryIO, cast

from omnikit.data.media.stated_sizes import OGG_HEADER, FileView, data_chunk

MARKS = {name: re.compile(mark, re.DOTALL) for name, mark in (  # with what such files begin
    ("wav", rb"RIFF.{4}WAVEfmt "), ("flac", rb"fLaC[\x00\x80]\x00\x00\x22"), ("au", rb"\.snd\0\0"), ("amr", rb"#!AMR"),
    ("caf", rb"caff\0\x01\0\0desc"), ("tta", rb"TTA1[\x01\x03]\0"), ("voc", rb"Creative Voice File\x1a"),
    ("asf", rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9"), ("flv", rb"FLV\x01[\x00-\x05]\0\0\0\x09"),
    ("w64", rb"riff\x2e\x91\xcf\x11.{16}wave\xf3"), ("matroska", rb"\x1aE\xdf\xa3.{4,40}(?:webm|matroska)"))}
STARTS = {"aiff": b"FORM", "wav": b"RIFF", "au": b".snd", "caf": b"caff", "w64": b"riff"}
BLOCK = 1 << 22  # bytes that are searched at once
OVERLAP = 64  # bytes of a mark at most


def joined_files(file: BinaryIO, container: str, most: int | None = None) -> Iterator[BinaryIO]:
    """Give the files that were joined one by one, each found when it is asked for; none: it is one file.

    Args:
        container: FFmpeg's name of the format.
        most: bytes that are searched where headers state no end.
    """
    starts = _starts(file, container, most)
    first = list(islice(starts, 2))
    if len(first) < 2:
        return
    for start, end in pairwise(chain(first, starts, (file.seek(0, os.SEEK_END),))):
        yield cast(BinaryIO, FileView(file, start, end))


def _starts(file: BinaryIO, container: str, most: int | None) -> Iterator[int]:
    """Give where files begin, in order; what stands before the first one that is found belongs to it."""
    if container == "ogg":
        return _ogg(file)
    if container == "mov":
        return _boxes(file)
    if container == "avi":
        return _riffs(file, b"AVI ")
    if container in STARTS:
        return _stated(file, container, most)
    return _search(file, MARKS[container], 0, most) if container in MARKS else iter((0,))


def _stated(file: BinaryIO, container: str, most: int | None) -> Iterator[int]:
    """Go from the end that a header states to the next file."""
    at, size = 0, file.seek(0, os.SEEK_END)
    while True:
        yield at
        rest = cast(BinaryIO, FileView(file, at, size))
        chunk = data_chunk(rest)
        if chunk is None or chunk.is_piped:
            if container in MARKS:
                yield from (place for place in _search(file, MARKS[container], at, most) if place > at)
            return
        ends = [end for end in sorted({chunk.end, _stated_end(rest)} - {0}) if _begins(rest, end, STARTS[container])]
        if not ends:
            return
        at += ends[0]


def _stated_end(file: BinaryIO) -> int:
    """Give where a RIFF or FORM ends by its header, with what stands behind its samples; 0 in other files."""
    file.seek(0)
    head = file.read(8)
    size = int.from_bytes(head[4:], "big" if head[:4] == b"FORM" else "little")
    return 8 + size + size % 2 if head[:4] in (b"FORM", b"RIFF") else 0


def _begins(file: BinaryIO, at: int, mark: bytes) -> bool:
    file.seek(at)
    return file.read(len(mark)) == mark


def _ogg(file: BinaryIO) -> Iterator[int]:
    """Walk from page to page; libsndfile reads the first stream alone."""
    begins, at = False, 0
    while True:
        file.seek(at)
        page = file.read(OGG_HEADER)
        if len(page) < OGG_HEADER or page[:4] != b"OggS":
            return
        sizes = file.read(page[26])
        before, begins = begins, bool(page[5] & 2)
        if begins and not before:  # several streams side by side begin with pages one behind the other
            yield at
        at += OGG_HEADER + len(sizes) + sum(sizes)


def _boxes(file: BinaryIO) -> Iterator[int]:
    """Walk the boxes of an MP4: a second `ftyp` begins another file."""
    at = 0
    yield at
    while True:
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            return
        if head[4:8] == b"ftyp" and at:
            yield at
        size = int.from_bytes(head[8:16]) if head[:4] == b"\0\0\0\1" else int.from_bytes(head[:4])
        if size < 8:  # 0: to the end
            return
        at += size


def _riffs(file: BinaryIO, kind: bytes) -> Iterator[int]:
    at = 0
    while True:
        file.seek(at)
        head = file.read(12)
        if len(head) < 12 or head[:4] != b"RIFF":
            return
        if head[8:] == kind:
            yield at
        size = int.from_bytes(head[4:8], "little")
        at += 8 + size + size % 2


def _search(file: BinaryIO, mark: re.Pattern[bytes], start: int, most: int | None) -> Iterator[int]:
    """Give the places of a mark behind a place, block by block."""
    at, tail, last = start, b"", -1
    while most is None or at < start + most:
        file.seek(at)
        block = file.read(BLOCK)
        if not block:
            return
        data = tail + block
        for found in mark.finditer(data):
            place = at - len(tail) + found.start()
            if place > last:
                yield place
            last = place
        at, tail = at + len(block), data[-OVERLAP:]
