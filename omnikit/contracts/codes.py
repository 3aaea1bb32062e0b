"""Codes of speech: a frame is a tuple with a code for each of Q codebooks. Files hold a plain number a frame where Q is 1."""

from __future__ import annotations

from collections.abc import Sequence

Code = tuple[int, ...]  # of one frame: Q numbers


def from_file(values: Sequence[int | Sequence[int]]) -> tuple[Code, ...]:
    """Give the frames of what a file holds: numbers (one codebook) or lists of numbers, all of one length.

    Raises:
        ValueError: it is neither, or a number is below 0.
    """
    frames = tuple(tuple(value) if isinstance(value, list | tuple) else (value,) for value in values)
    if len({len(frame) for frame in frames}) > 1 or any(not frame for frame in frames):
        raise ValueError("codes must have as many numbers in each frame")
    if not all(type(code) is int and code >= 0 for frame in frames for code in frame):
        raise ValueError("codes must be whole numbers from 0 up")
    return frames


def to_file(codes: Sequence[Code]) -> list[int] | list[list[int]]:
    """Give frames as files hold them."""
    if all(len(frame) == 1 for frame in codes):
        return [frame[0] for frame in codes]
    return [list(frame) for frame in codes]
