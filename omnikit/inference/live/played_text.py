"""The words of an answer whose audio was played, from marks that tie positions of its audio to positions of its text."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence

from omnikit.inference.text_alignment import Mark

CHARACTERS = 15  # a second of speech, until a mark gives the answer's own rate
# a word of a script with spaces, with what follows it directly; else a single character
_WORD = re.compile(r"[^\s\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]+|\S")


def text_until(text: str, marks: Sequence[Mark], samples: int, sample_rate: int) -> str:
    """Give the words that end within the first `samples` of an answer's audio.

    Between two marks characters are spread evenly over the audio; behind the last one they go on at the same rate, since a
    sentence has its mark when all its codes are made. A word counts when all of it was played.
    """
    characters = played_characters(marks, samples, sample_rate)
    ends = [word.end() for word in _WORD.finditer(text)]
    count = bisect_right(ends, characters)
    return text[: ends[count - 1]] if count else ""


def played_characters(marks: Sequence[Mark], samples: int, sample_rate: int) -> int:
    """Give how many characters the first `samples` of the audio hold."""
    before: Mark = (0, 0)
    for mark in marks:
        if mark[0] > samples:
            spread = (samples - before[0]) * (mark[1] - before[1])
            return before[1] + spread // (mark[0] - before[0])
        before = mark
    rest = samples - before[0]
    return before[1] + (rest * before[1] // before[0] if before[0] and before[1] else rest * CHARACTERS // sample_rate)
