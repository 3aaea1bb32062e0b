"""Segments become ids: each alone, or the whole run between two media at once, as code of LLaVA's family does it.

Knows no sample and no model. What is supervised stays known id by id.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from omnikit.contracts.specs import Template
from omnikit.contracts.types import Part
from omnikit.data.text.templates import Segment
from omnikit.data.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Piece:
    """A run of ids, or one media part.

    Args:
        ids: token ids; empty for media.
        supervised: for each id whether it is one of an answer, its end included.
        media: the part whose projected vectors stand here.
        segments: what the ids were made of.
    """

    ids: tuple[int, ...] = ()
    supervised: tuple[bool, ...] = ()
    media: Part | None = None
    segments: tuple[Segment, ...] = ()


def encode(segments: Sequence[Segment], template: Template, tokenizer: Tokenizer) -> Iterator[Piece]:
    """Give the ids of a conversation's segments, in the way that its template asks for."""
    if template.pieces:
        early = template.bare_text and not any(segment.media for segment in segments)
        for piece in _runs(segments, template, tokenizer):
            yield _early(piece) if early else piece
        return
    for segment in segments:
        ids = tokenizer.ids(segment.text)
        yield Piece(tuple(ids), (segment.supervised,) * len(ids), segment.media, (segment,))


def _runs(segments: Sequence[Segment], template: Template, tokenizer: Tokenizer) -> Iterator[Piece]:
    """Tokenise each run of text between media at once.

    If the first run begins with the id of `bos`, the first id of every run is dropped and one put back in front. Where the
    tokenizer adds no such id by itself, that is the first real one of every run but the first. Without a `bos` it is the id
    that the tokenizer adds by itself, if it adds one.
    """
    bos = _beginning(template, tokenizer)
    drop: int | None = None  # ids that every run but the first loses; the first gets its own back
    for media, run in groupby(segments, lambda segment: segment.media is not None):
        if media:
            yield from (Piece(media=segment.media) for segment in run)
            continue
        texts = list(run)
        ids = _ids("".join(segment.text for segment in texts), bos, template, tokenizer)
        supervised = _supervised(texts, bos, template, tokenizer)
        marks = [place in supervised for place in range(len(ids))]
        yield Piece(tuple(ids[drop or 0:]), tuple(marks[drop or 0:]), segments=tuple(texts))
        if drop is None:
            drop = int(bos is not None and ids[:1] == [bos])


def _beginning(template: Template, tokenizer: Tokenizer) -> int | None:
    """Give the id that begins a run; None where nothing does."""
    ids = tokenizer.ids(template.bos) if template.bos else tokenizer.ids("", special=True)
    return ids[0] if ids else None


def _early(piece: Piece) -> Piece:
    """Let each answer's supervision begin one id before it."""
    marks = piece.supervised
    return replace(piece, supervised=tuple(mark or behind for mark, behind in zip(marks, (*marks[1:], False), strict=True)))


def _supervised(texts: Sequence[Segment], bos: int | None, template: Template, tokenizer: Tokenizer) -> set[int]:
    """Give the places of a run's answers: from the number of ids before an answer up to the number with it."""
    places: set[int] = set()
    before = ""
    for segment in texts:
        behind = before + segment.text
        if segment.supervised:
            places |= set(range(len(_ids(before, bos, template, tokenizer)), len(_ids(behind, bos, template, tokenizer))))
        before = behind
    return places


def _ids(text: str, bos: int | None, template: Template, tokenizer: Tokenizer) -> list[int]:
    if template.adds_bos is None:
        return tokenizer.ids(text, special=True)
    return ([bos] if template.adds_bos and bos is not None else []) + tokenizer.ids(text)
