"""Tokenise segments: each alone, or all text between two media at once, as code of LLaVA's family does it.

Reads no sample and no model. Supervision is marked id by id. An answer whose ids do not follow those of its prompt is reported.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from omnikit.contracts.specs import Template
from omnikit.contracts.types import ContentPart
from omnikit.data.text.span_text import PrefixIds, SpanText
from omnikit.data.text.text_segments import TextSegment
from omnikit.data.text.tokenizer import Tokenizer

AnswerPrefixes = tuple[PrefixIds, PrefixIds]  # of an answer: ids of the text before it, and ids up to its end
QUOTED_CHARACTERS = 24  # before a mismatch, in a message
FIX = "choose a template with `pieces: false`, which tokenises answers alone, or a tokenizer that always cuts there"
CHAT_FIX = "choose a template by name with template=NAME, of those with `pieces: false`, which tokenise answers alone"


@dataclass(frozen=True)
class TokenSpan:
    """Consecutive ids, or one media part.

    Args:
        ids: token ids; empty for media.
        supervised: for each id whether it is one of an answer, its end included.
        media: the part whose projected embeddings stand here.
        segments: what the ids were made of.
        mismatch: why an answer in it cannot be trained on, as a sentence; "" if its ids follow those of its prompt.
    """

    ids: tuple[int, ...] = ()
    supervised: tuple[bool, ...] = ()
    media: ContentPart | None = None
    segments: tuple[TextSegment, ...] = ()
    mismatch: str = ""


def encode(segments: Sequence[TextSegment], template: Template, tokenizer: Tokenizer) -> Iterator[TokenSpan]:
    """Give the ids of a conversation's segments, in the way that its template asks for."""
    if template.pieces or template.chat:
        earlier = template.bare_text and not any(segment.media for segment in segments)
        for span in _token_spans(segments, template, tokenizer):
            yield _supervised_one_earlier(span) if earlier else span
        return
    for segment in segments:
        ids = SpanText((segment,), tokenizer).ids
        yield TokenSpan(tuple(ids), (segment.supervised,) * len(ids), segment.media, (segment,))


def _token_spans(segments: Sequence[TextSegment], template: Template, tokenizer: Tokenizer) -> Iterator[TokenSpan]:
    """Tokenise all text between two media at once.

    If the first span begins with the id of `bos`, the first id of every span is dropped and one put back in front. Where the
    tokenizer adds no such id by itself, that is the first real one of every span but the first. Without a `bos` it is the id
    that the tokenizer adds by itself, if it adds one.
    """
    bos = _bos_id(template, tokenizer)
    drop: int | None = None  # ids that every span but the first loses; the first gets its own back
    for media, neighbours in groupby(segments, lambda segment: segment.media is not None):
        if media:
            yield from (TokenSpan(media=segment.media) for segment in neighbours)
            continue
        texts = list(neighbours)
        whole = SpanText(texts, tokenizer, special=not template.chat and template.adds_bos is None,
                         front=[bos] if template.adds_bos and bos is not None else [])
        ids, answers = whole.ids, _answer_prefixes(texts, whole)
        supervised = {index for before, behind in answers for index in range(len(before), len(behind))}
        marks = [index in supervised for index in range(len(ids))]
        mismatch = (_mismatch(answers, ids, tokenizer, CHAT_FIX if template.chat else FIX)
                    or _dropped_id(ids[: drop or 0], marks, tokenizer))
        yield TokenSpan(tuple(ids[drop or 0:]), tuple(marks[drop or 0:]), segments=tuple(texts), mismatch=mismatch)
        if drop is None:
            drop = int(bos is not None and ids[:1] == [bos])


def _bos_id(template: Template, tokenizer: Tokenizer) -> int | None:
    """Give the id that begins a span; None where there is none, or where the rendering holds it."""
    if template.chat:
        return None
    ids = tokenizer.ids(template.bos) if template.bos else tokenizer.ids("", special=True)
    return ids[0] if ids else None


def _supervised_one_earlier(span: TokenSpan) -> TokenSpan:
    """Let each answer's supervision begin one id before it."""
    marks = span.supervised
    return replace(span, supervised=tuple(mark or behind for mark, behind in zip(marks, (*marks[1:], False), strict=True)))


def _answer_prefixes(texts: Sequence[TextSegment], whole: SpanText) -> list[AnswerPrefixes]:
    """Give the prefixes of a span's answers."""
    found, position = list[AnswerPrefixes](), 0
    for number, segment in enumerate(texts, 1):
        behind = position + len(segment.text)
        if segment.supervised:
            found.append((whole.before(position), PrefixIds(0, whole.ids) if number == len(texts) else whole.before(behind)))
        position = behind
    return found


def _mismatch(answers: Sequence[AnswerPrefixes], ids: list[int], tokenizer: Tokenizer, fix: str) -> str:
    """Compare the ids up to each answer's beginning and end with the first ids of the whole span; they must be the same.

    They are not where a token joins both sides, or where what follows decides how the text before it is cut.
    """
    for prefix, following in ((prefix, following) for prefixes in answers
                              for prefix, following in zip(prefixes, ("the answer", "the next turn"), strict=True)):
        if not prefix.begins(ids):
            alone = ids[: prefix.shared] + prefix.own
            first = next(index for index, i in enumerate(alone) if ids[index: index + 1] != [i])
            return (f"behind {tokenizer.text_with_specials(ids[:first])[-QUOTED_CHARACTERS:]!r} the tokenizer writes"
                    f" {_quote(ids, slice(first, first + 1), tokenizer)} where {following} follows, but"
                    f" {_quote(alone, slice(first, None), tokenizer)} where nothing does, so that answering would use other ids"
                    f" than training; {fix}.")
    return ""


def _dropped_id(dropped: list[int], marks: Sequence[bool], tokenizer: Tokenizer) -> str:
    """Name the id of an answer that is lost as the first one of its span; "" if none is."""
    if not any(marks[: len(dropped)]):
        return ""
    return (f"an answer stands right behind a medium, where the template drops the first id,"
            f" {_quote(dropped, slice(None), tokenizer)}, so that it would never be trained on; choose a template with"
            " `pieces: false`, which drops nothing, or one with a text in `assistant`.")


def _quote(ids: list[int], part: slice, tokenizer: Tokenizer) -> str:
    """Give text and ids of a part; the text as it stands behind the ids before, since some decoders drop a space in front."""
    start, found = tokenizer.text_with_specials(ids[: part.start or 0]), ids[part]
    text = tokenizer.text_with_specials([*ids[: part.start or 0], *found])[len(start):]
    return f"{text!r} (id {' '.join(map(str, found))})" if found else "nothing"
