"""A conversation becomes a row of segments: text, or a place for media. Knows words, not ids; imports no torch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from omnikit.specs import Template
from omnikit.types import Message, Part


@dataclass(frozen=True)
class Segment:
    """A run of text, or one media part that the backbone hears or sees.

    Args:
        text: the text; empty for media.
        supervised: True for an answer and the token that ends it.
        media: the part whose projected vectors stand here.
    """

    text: str = ""
    supervised: bool = False
    media: Part | None = None


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
    return _merged([*_segments(messages, template), Segment(template.assistant)])


def said(messages: Sequence[Message]) -> list[str]:
    """Give the text of each answer."""
    return [_text(message) for message in messages if message.role == "assistant"]


def _segments(messages: Sequence[Message], template: Template) -> Iterator[Segment]:
    yield Segment(template.bos)
    if template.default_system and not any(message.role == "system" for message in messages):
        yield Segment(template.system.replace("{content}", template.default_system))
    for message in messages:
        if message.role == "assistant":
            answer = _text(message)
            yield Segment(template.assistant)
            yield Segment((answer.strip() if template.strip else answer) + template.end, supervised=True)
        elif message.role == "user":
            yield from _framed(template.user, _stripped(_asked(message, template)) if template.strip
                               else _asked(message, template))
        elif _text(message):  # an empty system prompt leaves its whole block out
            yield from _framed(template.system, _contents(message))


def _framed(pattern: str, content: list[Segment]) -> list[Segment]:
    before, _, behind = pattern.partition("{content}")
    return [Segment(before), *content, Segment(behind)]


def _contents(message: Message) -> list[Segment]:
    return [Segment(part.text or "") if part.type == "text" else Segment(media=part) for part in message.content]


def _asked(message: Message, template: Template) -> list[Segment]:
    """Give a question's parts with what the template puts behind audio."""
    found: list[Segment] = []
    for segment in _contents(message):
        found.append(segment)
        if segment.media and segment.media.type == "audio":
            found.append(Segment(template.behind_audio))
    heard = any(segment.media and segment.media.type == "audio" for segment in found)
    return [*found, Segment(template.instruction)] if heard and not _text(message).strip() else found


def _stripped(content: list[Segment]) -> list[Segment]:
    """Drop the space before the first and behind the last word or medium."""
    joined = _merged(content)
    if joined and not joined[0].media:
        joined[0] = Segment(joined[0].text.lstrip())
    if joined and not joined[-1].media:
        joined[-1] = Segment(joined[-1].text.rstrip())
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
            merged[-1] = Segment(last.text + segment.text)
    return merged
