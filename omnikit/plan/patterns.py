"""Patterns that name tensors or layers of a part: `norm*`, `layers[-4:]`, `layers[0].attention.out`. Uses no torch.

A pattern is a dotted path that may begin at any depth and covers everything below it. A word of it may hold `*` and `?`; a
range in brackets, as Python slices it, picks from numbered layers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from omnikit.errors import nearest

_WORD = re.compile(r"([\w*?-]+)(?:\[(-?\d*)(?:(:)(-?\d*)(?::(-?\d*))?)?\])?")
RULE = "a pattern is a dotted path such as norm*, layers[-4:] or layers[0].attention"


@dataclass(frozen=True)
class _Word:
    """One word of a pattern: a glob, and which of the numbered layers below it."""

    glob: str
    picked: slice | int | None = None

    def picks(self, number: int, count: int) -> bool:
        if isinstance(self.picked, slice):
            return number in range(count)[self.picked]
        return self.picked is not None and number == (self.picked + count if self.picked < 0 else self.picked)


def problem(pattern: str) -> str | None:
    """Give one clause that states why a text is not a pattern, or None."""
    return None if _words(pattern) else f"is not a pattern; {RULE}"


def matching(pattern: str, names: Sequence[str]) -> list[str]:
    """Give the names of tensors or layers that a pattern covers."""
    words = _words(pattern)
    split = {name: name.split(".") for name in names}
    counts: dict[tuple[str, ...], int] = {}  # path of numbered layers → how many
    for path in split.values():
        for depth, word in enumerate(path):
            if word.isdecimal():
                above = tuple(path[:depth])
                counts[above] = max(counts.get(above, 0), int(word) + 1)
    return [name for name, path in split.items()
            if words and any(_covers(words, path, begin, counts) for begin in range(len(path)))]


def similar(pattern: str, names: Iterable[str]) -> str:
    """Give ' Did you mean X?' for the name's word or path that is most like a pattern, or an empty string."""
    plain = re.sub(r"\[[^\]]*\]|\*", "", pattern)
    known = {word for name in names for word in name.split(".") if not word.isdecimal()} | set(names)
    return nearest(plain, sorted(known))


def _covers(words: Sequence[_Word], path: Sequence[str], begin: int, counts: dict[tuple[str, ...], int]) -> bool:
    place = begin
    for word in words:
        if place >= len(path) or not fnmatchcase(path[place], word.glob):
            return False
        place += 1
        if word.picked is not None:
            count = counts.get(tuple(path[:place]), 0)
            if place >= len(path) or not path[place].isdecimal() or not word.picks(int(path[place]), count):
                return False
            place += 1
    return True


def _words(pattern: str) -> list[_Word]:
    """Give the words of a pattern; none if it is not one."""
    found = [_WORD.fullmatch(word) for word in pattern.split(".")]
    words = [word for match in found if match and (word := _word(match))]
    return words if len(words) == len(found) else []


def _word(match: re.Match[str]) -> _Word | None:
    glob, start, colon, stop, step = match.groups()
    if start is None:
        return _Word(glob)
    if step == "0" or "-" in (start, stop, step) or (not colon and not start):
        return None
    if not colon:
        return _Word(glob, int(start))
    return _Word(glob, slice(*(int(number) if number else None for number in (start, stop, step))))
