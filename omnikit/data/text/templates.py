"""Render a conversation with its template: segments of text, or media. Holds text, not ids; imports no torch."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from omnikit.contracts.specs import Template
from omnikit.contracts.types import Message
from omnikit.data.text.chat_segments import chat_segments
from omnikit.data.text.text_segments import TextSegment as TextSegment
from omnikit.data.text.text_segments import merge
from omnikit.errors import DataError

PADDING = -100  # of targets
IMAGES = ("image", "video")


def render(messages: Sequence[Message], template: Template) -> list[TextSegment]:
    """Render a whole conversation; each assistant message (its state, its text and the end) is supervised.

    Raises:
        DataError: an answer's state is not one of the template's, or its own chat template refuses the conversation.
    """
    _check_characters(messages)
    if template.chat:
        return chat_segments(messages, template, prompt=False)
    return merge(_segments(messages, template))


def prompt(messages: Sequence[Message], template: Template) -> list[TextSegment]:
    """Render the prompt of an answer: up to the last question, then the assistant's header.

    Earlier answers are part of the prompt; one that follows the last question is left out.
    """
    messages = list(messages)
    while messages and messages[-1].role == "assistant":
        messages.pop()
    _check_characters(messages)
    if template.chat:
        return chat_segments(messages, template, prompt=True)
    return merge([*_segments(messages, template), _text_segment(template.assistant)])


def _check_characters(messages: Sequence[Message]) -> None:
    """Refuse half of a surrogate pair, which no encoding can write; raises DataError."""
    for text in (part.text for message in messages for part in message.content if part.text and not part.text.isascii()):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"the text {text[max(0, error.start - 20):error.end + 20]!a} holds half of a character"
                            f" ({text[error.start]!a}), which no tokenizer can read; write it again as UTF-8.",
                            kind="broken character") from None


def answer_texts(messages: Sequence[Message]) -> list[str]:
    """Give the text of each answer."""
    return [_text(message) for message in messages if message.role == "assistant"]


def turn_labels(messages: Sequence[Message]) -> list[int]:
    """Give the turn-detection label of each audio of a conversation's questions: 0 for speech to the model, 1 for noise.

    Where it is not the last of its question, or nothing answers that, it is PADDING.
    """
    labels: list[int] = []
    for message, following in pairwise([*messages, None]):
        count = _media(message).count("audio") if message and message.role == "user" else 0
        if count:
            answered = following is not None and following.role == "assistant"
            label = int(following.state == "noise") if following and answered else PADDING
            labels += [*[PADDING] * (count - 1), label]
    return labels


def _text_segment(text: str, origin: str = "template") -> TextSegment:
    return TextSegment(text, origins=((len(text), origin),))


def _segments(messages: Sequence[Message], template: Template) -> Iterator[TextSegment]:
    yield _text_segment(template.bos)
    system = _default_system(messages, template)
    if system and not any(message.role == "system" for message in messages):
        yield from _framed_content(template.system, [_text_segment(system, "system")])
    stateless = template.bare_text and not any(_media(message) for message in messages)
    spoken = False  # the last question
    for number, message in enumerate(messages):
        if message.role == "assistant":
            yield _text_segment(template.assistant)
            yield _answer(message, "" if stateless else _state(message, template, spoken=spoken), template)
        elif message.role == "user":
            spoken = "audio" in _media(message)
            content = _question(message, template)
            begins = not any(earlier.role != "system" for earlier in messages[:number])
            yield from _framed_content(template.first if template.first and begins else template.user,
                               _strip(content) if template.strip else content)
        elif _text(message):  # an empty system prompt leaves its whole block out
            yield from _framed_content(template.system, _content(message))


def _default_system(messages: Sequence[Message], template: Template) -> str:
    visual = [medium for message in messages for medium in _media(message) if medium in IMAGES]
    return template.systems.get(visual[-1] if visual else "text", template.default_system)


def _state(message: Message, template: Template, *, spoken: bool) -> str:
    """Give the state before an answer: the row's own, else by whether the question was spoken."""
    if message.state is not None and template.states and message.state not in template.states:
        raise DataError(f"An answer has the state {message.state!r}, but the template has {', '.join(template.states)};"
                        " give it one of them.", kind="unknown state")
    return template.states.get(message.state or ("audio" if spoken else "text"), "")


def _answer(message: Message, state: str, template: Template) -> TextSegment:
    text, end = _text(message), "" if message.cut else template.end
    text = text.strip() if template.strip else text
    origins = ((len(state), "template"), (len(text), "answer"), (len(end), "template"))
    return TextSegment(state + text + end, supervised=True, origins=origins)


def _framed_content(pattern: str, content: list[TextSegment]) -> list[TextSegment]:
    before, _, behind = pattern.partition("{content}")
    return [_text_segment(before), *content, _text_segment(behind)]


def _content(message: Message) -> list[TextSegment]:
    origin = "system" if message.role == "system" else "question"
    return [_text_segment(part.text or "", origin) if part.type == "text" else TextSegment(media=part)
            for part in message.content]


def _question(message: Message, template: Template) -> list[TextSegment]:
    """Give a question's parts with the text that the template puts behind media."""
    behind = {"audio": template.behind_audio, "image": template.behind_image, "video": template.behind_video}
    found: list[TextSegment] = []
    for segment in _tidy(_content(message)) if template.tidy else _content(message):
        found.append(segment)
        if segment.media and (text := behind.get(segment.media.type)):
            found.append(_text_segment(text))
    instructed = "audio" in _media(message) and not _text(message).strip()
    return [*found, _text_segment(template.instruction)] if instructed else found


def _tidy(content: list[TextSegment]) -> list[TextSegment]:
    """Drop newlines beside images and videos and one behind audio, and move images that stand last to the front.

    Where a question has an image or a video, two newlines become one.
    """
    kinds = ["", *(segment.media.type if segment.media else "" for segment in content), ""]
    visual = any(kind in IMAGES for kind in kinds)
    found: list[TextSegment] = []
    for before, segment, behind in zip(kinds, content, kinds[2:], strict=False):
        text = segment.text.lstrip("\n") if before in IMAGES else segment.text
        text = text.removeprefix("\n") if before == "audio" else text
        text = text.rstrip("\n") if behind in IMAGES else text
        text = text.replace("\n\n", "\n") if visual else text
        if segment.media or text:
            found.append(replace(segment, text=text, origins=((len(text), "question"),) if text else ()))
    first = len(found)
    while first and (part := found[first - 1].media) and part.type in IMAGES:
        first -= 1
    return found[first:] + found[:first]


def _strip(content: list[TextSegment]) -> list[TextSegment]:
    """Drop the white space before the first and behind the last word or medium."""
    joined = merge(content)
    if joined and not joined[0].media:
        joined[0] = joined[0].strip()
    if joined and not joined[-1].media:
        joined[-1] = joined[-1].strip(left=False)
    return joined


def _media(message: Message) -> list[str]:
    """Give the types of a question's media, in order."""
    return [part.type for part in message.content if part.type != "text"] if message.role != "assistant" else []


def _text(message: Message) -> str:
    return "".join(part.text or "" for part in message.content if part.type == "text")
