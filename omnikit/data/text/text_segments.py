"""Stretches of a rendered conversation: text, with where it comes from, or a medium. Holds text, not ids; imports no torch."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from omnikit.contracts.types import ContentPart


@dataclass(frozen=True)
class TextSegment:
    """A stretch of text, or one media part of the input.

    Args:
        text: the text; empty for media.
        supervised: True for an answer and the token that ends it.
        media: the part whose projected embeddings stand here.
        origins: where the text comes from, as (characters, origin): "template", "system", "question" or "answer".
    """

    text: str = ""
    supervised: bool = False
    media: ContentPart | None = None
    origins: tuple[tuple[int, str], ...] = field(default=(), compare=False)

    def strip(self, *, left: bool = True) -> "TextSegment":
        """Drop the white space at one end."""
        text = self.text.lstrip() if left else self.text.rstrip()
        dropped = len(self.text) - len(text)
        each = [origin for count, origin in self.origins for _ in range(count)]
        remaining = each[dropped:] if left else each[: len(each) - dropped]
        return replace(self, text=text, origins=tuple((1, origin) for origin in remaining))


def merge(segments: Iterator[TextSegment] | list[TextSegment]) -> list[TextSegment]:
    """Join neighbours that are tokenised as one: unsupervised text. A supervised segment stays alone, as it is generated."""
    merged: list[TextSegment] = []
    for segment in segments:
        last = merged[-1] if merged else TextSegment(supervised=True)
        if segment.media or segment.supervised or last.media or last.supervised:
            if segment.media or segment.text:
                merged.append(segment)
        else:
            merged[-1] = TextSegment(last.text + segment.text, origins=last.origins + segment.origins)
    return merged
