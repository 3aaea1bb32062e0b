"""Files that were joined byte by byte (`cat a b`): where each of them begins. Decodes nothing."""

from __future__ import annotations

import io
import re
from itertools import pairwise
from typing import BinaryIO

from omnikit.data.media.stated_sizes import OGG_HEADER, data_chunk

MARKS = {name: re.compile(mark, re.DOTALL) for name, mark in (  # with what such files begin
    ("wav", rb"RIFF.{4}WAVEfmt "), ("flac", rb"fLaC[\x00\x80]\x00\x00\x22"), ("au", rb"\.snd\0\0"), ("amr", rb"#!AMR"),
    ("caf", rb"caff\0\x01\0\0desc"), ("tta", rb"TTA1[\x01\x03]\0"), ("voc", rb"Creative Voice File\x1a"),
    ("asf", rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9"), ("flv", rb"FLV\x01[\x00-\x05]\0\0\0\x09"),
    ("w64", rb"riff\x2e\x91\xcf\x11.{16}wave\xf3"), ("matroska", rb"\x1aE\xdf\xa3.{4,40}(?:webm|matroska)"))}
STARTS = {"aiff": b"FORM", "wav": b"RIFF", "au": b".snd", "caf": b"caff", "w64": b"riff", "avi": b"RIFF"}
BLOCK = 1 << 22  # bytes that are searched at once
OVERLAP = 64  # bytes of a mark at most


def file_starts(file: BinaryIO, container: str, most: int | None = None) -> list[int]:
    """Give where each of several joined files begins; one or no place: it is one file.

    Args:
        container: FFmpeg's name of the format.
        most: bytes that are searched where headers state no end.
    """
    if container == "ogg":
        return _ogg(file)
    if container == "mov":
        return _boxes(file)
    if container == "avi":
        return _riffs(file, b"AVI ")
    chunk = data_chunk(file)
    if chunk is not None and not chunk.is_piped:
        ends = {chunk.end, _stated_end(file)} - {0}
        return [0, *[end for end in sorted(ends) if _begins(file, end, STARTS[container])][:1]]
    return _search(file, MARKS[container], most) if container in MARKS else [0]


def split(file: BinaryIO, starts: list[int]) -> list[BinaryIO]:
    """Give joined files one by one; an entry of `starts` may itself begin several."""
    file.seek(0)
    data = file.read()
    return [io.BytesIO(data[start:end]) for start, end in pairwise([*starts, len(data)])]


def _stated_end(file: BinaryIO) -> int:
    """Give where a RIFF or FORM ends by its header, with what stands behind its samples; 0 in other files."""
    file.seek(0)
    head = file.read(8)
    size = int.from_bytes(head[4:], "big" if head[:4] == b"FORM" else "little")
    return 8 + size + size % 2 if head[:4] in (b"FORM", b"RIFF") else 0


def _begins(file: BinaryIO, at: int, mark: bytes) -> bool:
    file.seek(at)
    return file.read(len(mark)) == mark


def _ogg(file: BinaryIO) -> list[int]:
    """Walk from page to page; libsndfile reads the first stream alone."""
    file.seek(0)
    starts: list[int] = []
    begins, at = False, 0
    while len(page := file.read(OGG_HEADER)) == OGG_HEADER and page[:4] == b"OggS":
        before, begins = begins, bool(page[5] & 2)
        if begins and not before:  # several streams side by side begin with pages one behind the other
            starts.append(at)
        sizes = file.read(page[26])
        at += OGG_HEADER + len(sizes) + sum(sizes)
        file.seek(at)
    return starts


def _boxes(file: BinaryIO) -> list[int]:
    """Walk the boxes of an MP4: a second `ftyp` begins another file."""
    starts, at = [0], 0
    while True:
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            return starts
        size = int.from_bytes(head[:4])
        if head[4:8] == b"ftyp" and at:
            starts.append(at)
        size = int.from_bytes(head[8:16]) if size == 1 else size
        if size < 8:  # 0: to the end
            return starts
        at += size


def _riffs(file: BinaryIO, kind: bytes) -> list[int]:
    starts, at = [0], 0
    while True:
        file.seek(at)
        head = file.read(12)
        if len(head) < 12 or head[:4] != b"RIFF":
            return starts
        if head[8:] == kind and at:
            starts.append(at)
        size = int.from_bytes(head[4:8], "little")
        at += 8 + size + size % 2


def _search(file: BinaryIO, mark: re.Pattern[bytes], most: int | None) -> list[int]:
    """Give the places of a mark, block by block."""
    starts: list[int] = []
    at, tail = 0, b""
    file.seek(0)
    while (most is None or at < most) and (block := file.read(BLOCK)):
        data = tail + block
        starts += [place for found in mark.finditer(data)
                   if (place := at - len(tail) + found.start()) not in starts[-1:]]
        at, tail = at + len(block), data[-OVERLAP:]
    return starts
