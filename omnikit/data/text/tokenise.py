"""Segments become ids: each alone, or the whole run between two media at once, as code of LLaVA's family does it.

Knows no sample and no model. What is supervised stays known id by id. An answer whose ids do not follow those of its prompt is
marked.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby

from omnikit.contracts.specs import Template
from omnikit.contracts.types import ContentPart
from omnikit.data.text.templates import TextSegment
from omnikit.data.text.tokenizer import Tokenizer

Span = tuple[list[int], list[int]]  # of an answer: the ids of the text before it, and of the text up to its end
SHOWN = 24  # characters before a mismatch
FIX = "choose a template with `pieces: false`, which tokenises answers alone, or a tokenizer that always cuts there"


@dataclass(frozen=True)
class TokenRun:
    """A run of ids, or one media part.

    Args:
        ids: token ids; empty for media.
        supervised: for each id whether it is one of an answer, its end included.
        media: the part whose projected vectors stand here.
        segments: what the ids were made of.
        mismatch: why an answer in it cannot be learnt, as a sentence; "" if its ids follow those of its prompt.
    """

    ids: tuple[int, ...] = ()
    supervised: tuple[bool, ...] = ()
    media: ContentPart | None = None
    segments: tuple[TextSegment, ...] = ()
    mismatch: str = ""


def encode(segments: Sequence[TextSegment], template: Template, tokenizer: Tokenizer) -> Iterator[TokenRun]:
    """Give the ids of a conversation's segments, in the way that its template asks for."""
    if template.pieces:
        early = template.bare_text and not any(segment.media for segment in segments)
        for piece in _runs(segments, template, tokenizer):
            yield _early(piece) if early else piece
        return
    for segment in segments:
        ids = tokenizer.ids(segment.text)
        yield TokenRun(tuple(ids), (segment.supervised,) * len(ids), segment.media, (segment,))


def _runs(segments: Sequence[TextSegment], template: Template, tokenizer: Tokenizer) -> Iterator[TokenRun]:
    """Tokenise each run of text between media at once.

    If the first run begins with the id of `bos`, the first id of every run is dropped and one put back in front. Where the
    tokenizer adds no such id by itself, that is the first real one of every run but the first. Without a `bos` it is the id
    that the tokenizer adds by itself, if it adds one.
    """
    bos = _beginning(template, tokenizer)
    drop: int | None = None  # ids that every run but the first loses; the first gets its own back
    for media, run in groupby(segments, lambda segment: segment.media is not None):
        if media:
            yield from (TokenRun(media=segment.media) for segment in run)
            continue
        texts = list(run)
        encoded = partial(_ids, bos=bos, template=template, tokenizer=tokenizer)
        ids = encoded("".join(segment.text for segment in texts))
        spans = _answers(texts, ids, encoded)
        supervised = {place for before, behind in spans for place in range(len(before), len(behind))}
        marks = [place in supervised for place in range(len(ids))]
        yield TokenRun(tuple(ids[drop or 0:]), tuple(marks[drop or 0:]), segments=tuple(texts),
                    mismatch=_mismatch(spans, ids, tokenizer) or _dropped(ids[: drop or 0], marks, tokenizer))
        if drop is None:
            drop = int(bos is not None and ids[:1] == [bos])


def _beginning(template: Template, tokenizer: Tokenizer) -> int | None:
    """Give the id that begins a run; None where nothing does."""
    ids = tokenizer.ids(template.bos) if template.bos else tokenizer.ids("", special=True)
    return ids[0] if ids else None


def _early(piece: TokenRun) -> TokenRun:
    """Let each answer's supervision begin one id before it."""
    marks = piece.supervised
    return replace(piece, supervised=tuple(mark or behind for mark, behind in zip(marks, (*marks[1:], False), strict=True)))


def _answers(texts: Sequence[TextSegment], ids: list[int], encoded: Callable[[str], list[int]]) -> list[Span]:
    """Give the spans of a run's answers; `ids` are those of the whole run."""
    found, before = list[Span](), ""
    for number, segment in enumerate(texts, 1):
        behind = before + segment.text
        if segment.supervised:
            found.append((encoded(before), ids if number == len(texts) else encoded(behind)))
        before = behind
    return found


def _mismatch(spans: Sequence[Span], ids: list[int], tokenizer: Tokenizer) -> str:
    """Compare the ids up to each answer's beginning and end with the first ids of the whole run; they must be the same.

    They are not where a token joins both sides, or where what follows decides how the text before it is cut.
    """
    for alone, following in ((alone, following) for span in spans
                             for alone, following in zip(span, ("the answer", "the next turn"), strict=True)):
        if ids[: len(alone)] != alone:
            place = next(place for place, i in enumerate(alone) if ids[place: place + 1] != [i])
            return (f"behind {tokenizer.spelled(ids[:place])[-SHOWN:]!r} the tokenizer writes"
                    f" {_shown(ids, slice(place, place + 1), tokenizer)} where {following} follows, but"
                    f" {_shown(alone, slice(place, None), tokenizer)} where nothing does, so that answering would use other ids"
                    f" than training; {FIX}.")
    return ""


def _dropped(gone: list[int], marks: Sequence[bool], tokenizer: Tokenizer) -> str:
    """Say which id of an answer is lost with the first one of its run."""
    if not any(marks[: len(gone)]):
        return ""
    return (f"an answer stands right behind a medium, where the template drops the first id,"
            f" {_shown(gone, slice(None), tokenizer)}, so that it would never be learnt; choose a template with"
            " `pieces: false`, which drops nothing, or one with a text in `assistant`.")


def _shown(ids: list[int], part: slice, tokenizer: Tokenizer) -> str:
    """Give text and ids of a part; the text as it stands behind the ids before, since some decoders drop a space in front."""
    start, found = tokenizer.spelled(ids[: part.start or 0]), ids[part]
    text = tokenizer.spelled([*ids[: part.start or 0], *found])[len(start):]
    return f"{text!r} (id {' '.join(map(str, found))})" if found else "nothing"


def _ids(text: str, bos: int | None, template: Template, tokenizer: Tokenizer) -> list[int]:
    if template.adds_bos is None:
        return tokenizer.ids(text, special=True)
    return ([bos] if template.adds_bos and bos is not None else []) + tokenizer.ids(text)
