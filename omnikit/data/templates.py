"""A conversation becomes a row of segments: text, or a place for media. Knows words, not ids; imports no torch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from omnikit.specs import Template
from omnikit.types import Message, Part


@dataclass(frozen=True)
class Segment:
    """A run of text, or one media part that the backbone hears or sees.

    Args:
        text: the text; empty for media.
        supervised: True for an answer and the token that ends it.
        media: the part whose projected vectors stand here.
        origins: whence the text comes, as runs of (characters, origin): "template", "system", "question" or "answer".
    """

    text: str = ""
    supervised: bool = False
    media: Part | None = None
    origins: tuple[tuple[int, str], ...] = field(default=(), compare=False)

    def stripped(self, *, left: bool = True) -> "Segment":
        """Drop the space at one end."""
        text = self.text.lstrip() if left else self.text.rstrip()
        gone = len(self.text) - len(text)
        each = [origin for count, origin in self.origins for _ in range(count)]
        kept = each[gone:] if left else each[: len(each) - gone]
        return replace(self, text=text, origins=tuple((1, origin) for origin in kept))


def render(messages: Sequence[Message], template: Template) -> list[Segment]:
    """Render a whole conversation; each assistant message (its text and the end) is supervised."""
    return _merged(_segments(messages, template))


def prompt(messages: Sequence[Message], template: Template) -> list[Segment]:
    """Render what the model sees before it answers: up to the last question, then the assistant's header.

    Earlier answers are part of the prompt; one that follows the last question is left out.
    """
    messages = list(messages)
    while messages and messages[-1].role == "assistant":
        messages.pop()
    return _merged([*_segments(messages, template), _words(template.assistant)])


def said(messages: Sequence[Message]) -> list[str]:
    """Give the text of each answer."""
    return [_text(message) for message in messages if message.role == "assistant"]


def _words(text: str, origin: str = "template") -> Segment:
    return Segment(text, origins=((len(text), origin),))


def _segments(messages: Sequence[Message], template: Template) -> Iterator[Segment]:
    yield _words(template.bos)
    if template.default_system and not any(message.role == "system" for message in messages):
        yield from _framed(template.system, [_words(template.default_system, "system")])
    for message in messages:
        if message.role == "assistant":
            answer = _text(message).strip() if template.strip else _text(message)
            yield _words(template.assistant)
            origins = ((len(answer), "answer"), (len(template.end), "template"))
            yield Segment(answer + template.end, supervised=True, origins=origins)
        elif message.role == "user":
            yield from _framed(template.user, _stripped(_asked(message, template)) if template.strip
                               else _asked(message, template))
        elif _text(message):  # an empty system prompt leaves its whole block out
            yield from _framed(template.system, _contents(message))


def _framed(pattern: str, content: list[Segment]) -> list[Segment]:
    before, _, behind = pattern.partition("{content}")
    return [_words(before), *content, _words(behind)]


def _contents(message: Message) -> list[Segment]:
    origin = "system" if message.role == "system" else "question"
    return [_words(part.text or "", origin) if part.type == "text" else Segment(media=part) for part in message.content]


def _asked(message: Message, template: Template) -> list[Segment]:
    """Give a question's parts with what the template puts behind audio."""
    found: list[Segment] = []
    for segment in _contents(message):
        found.append(segment)
        if segment.media and segment.media.type == "audio":
            found.append(_words(template.behind_audio))
    heard = any(segment.media and segment.media.type == "audio" for segment in found)
    return [*found, _words(template.instruction)] if heard and not _text(message).strip() else found


def _stripped(content: list[Segment]) -> list[Segment]:
    """Drop the space before the first and behind the last word or medium."""
    joined = _merged(content)
    if joined and not joined[0].media:
        joined[0] = joined[0].stripped()
    if joined and not joined[-1].media:
        joined[-1] = joined[-1].stripped(left=False)
    return joined


def _text(message: Message) -> str:
    return "".join(part.text or "" for part in message.content if part.type == "text")


def _merged(segments: Iterator[Segment] | list[Segment]) -> list[Segment]:
    """Join neighbours that are tokenised as one: unsupervised text. A supervised segment stays alone, as it is generated."""
    merged: list[Segment] = []
    for segment in segments:
        last = merged[-1] if merged else Segment(supervised=True)
        if segment.media or segment.supervised or last.media or last.supervised:
            if segment.media or segment.text:
                merged.append(segment)
        else:
            merged[-1] = Segment(last.text + segment.text, origins=last.origins + segment.origins)
    return merged
