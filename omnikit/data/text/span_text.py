"""Text that is tokenised at once: its ids, and those of what stands before a position, in time linear in the text.

A token that a user wrote out (`<|im_end|>`) is tokenised as the letters that it is: only a template's own text yields it.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from omnikit.data.text.text_segments import TextSegment
from omnikit.data.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class PrefixIds:
    """Ids of a text up to a position: the first `shared` of the whole's ids, then `own`."""

    shared: int
    own: list[int]

    def __len__(self) -> int:
        return self.shared + len(self.own)

    def begins(self, ids: Sequence[int]) -> bool:
        """Say whether the whole's ids begin with these."""
        return list(ids[self.shared: len(self)]) == self.own


class SpanText:
    """Consecutive segments of text as one.

    Args:
        segments: of text alone.
        special: also what its tokenizer.json puts around a text.
        front: ids put before it.
    """

    def __init__(self, segments: Sequence[TextSegment], tokenizer: Tokenizer, *, special: bool = False,
                 front: Sequence[int] = ()) -> None:
        self.text, self._tokenizer = "".join(segment.text for segment in segments), tokenizer
        self._special, self._front = special, list(front)
        self.typed = typed_tokens(segments, tokenizer)
        self.ids = self._all_ids(len(self.text))
        self._anchors: list[tuple[int, int, int]] | None = None

    def before(self, position: int) -> PrefixIds:
        """Give the ids of the text up to a position, as if nothing followed."""
        if self._anchors is None:
            self._anchors = self._find_anchors()
        found = bisect_right(self._anchors, (position, position)) - 1
        if found < 0:
            return PrefixIds(0, self._all_ids(position))
        _, begin, shared = self._anchors[found]
        return PrefixIds(shared, self._ids(begin, position))

    def offsets(self) -> list[tuple[int, int]]:
        """Give where each of its ids begins and ends, without those in front; raises ConfigError as Tokenizer.offsets."""
        if not self.typed:
            return self._tokenizer.offsets(self.text)
        found, at = list[tuple[int, int]](), 0
        for start, stop in [*self._control_tokens(0, len(self.text)), (len(self.text), len(self.text))]:
            found += [(at + first, at + last) for first, last in self._tokenizer.offsets(self.text[at:start], letters=True)]
            found += [(start, stop)] * (start < stop)
            at = stop
        return found

    def _all_ids(self, end: int) -> list[int]:
        if self._special and not self.typed:
            return self._front + self._tokenizer.ids(self.text[:end], special=True)
        return self._front + (self._tokenizer.ids("", special=True) if self._special else []) + self._ids(0, end)

    def _ids(self, begin: int, end: int) -> list[int]:
        """Give the ids of a stretch; tokens that were typed are letters."""
        if not any(start < end and stop > begin for start, stop in self.typed):
            return self._tokenizer.ids(self.text[begin:end])
        found, at = list[int](), begin
        for start, stop in self._control_tokens(begin, end):
            found += self._tokenizer.letters(self.text[at:start]) + self._tokenizer.ids(self.text[start:stop])
            at = stop
        return found + self._tokenizer.letters(self.text[at:end])

    def _control_tokens(self, begin: int, end: int) -> list[tuple[int, int]]:
        """Give where control tokens stand that the template wrote."""
        return [(start, stop) for start, stop in self._tokenizer.control_tokens(self.text, begin, end)
                if not any(first < stop and last > start for first, last in self.typed)]

    def _find_anchors(self) -> list[tuple[int, int, int]]:
        """Give (end, begin, index of the id) of tokens before and behind which all is tokenised by itself."""
        strict = self._tokenizer.strict_tokens
        positions = [(stop, start) for start, stop in self._control_tokens(0, len(self.text))
                     if self.text[start:stop] in strict]
        indices = [index for index, i in enumerate(self.ids) if i in self._tokenizer.strict_ids]
        if len(indices) > len(positions):  # what stands in front
            indices = indices[len(indices) - len(positions):] if self._front or self._special else []
        if len(indices) != len(positions):
            return []
        return [(stop, start, index) for (stop, start), index in zip(positions, indices, strict=True)]


def typed_tokens(segments: Sequence[TextSegment], tokenizer: Tokenizer) -> list[tuple[int, int]]:
    """Give where in the joined text control tokens stand that the template did not write."""
    text = "".join(segment.text for segment in segments)
    found = tokenizer.control_tokens(text, 0, len(text))
    if not found:
        return []
    origins = [origin for segment in segments for origin in (segment.origins or ((len(segment.text), "template"),))]
    written, at = list[tuple[int, int]](), 0
    for length, origin in origins:
        if origin == "template" and written and written[-1][1] == at:
            written[-1] = (written[-1][0], at + length)
        elif origin == "template":
            written.append((at, at + length))
        at += length
    return [(start, stop) for start, stop in found if not any(first <= start and stop <= last for first, last in written)]
