"""Segments of a conversation that a folder's own chat template renders.

The template is rendered twice: with a mark in the place of each message, which gives what it writes around them, and with the
messages themselves, which must be the same text. Where it is not, since the template changes a message by its content, each
answer is what the rendering has beyond that of the conversation before it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from omnikit.contracts.specs import Template
from omnikit.contracts.types import ContentPart, Message
from omnikit.data.text.text_segments import TextSegment
from omnikit.errors import ConfigError, DataError
from omnikit.plan.chat_template import BEGIN, END, GENERATED, GENERATED_END, MARKS, ChatMessage, probe, render

MESSAGE = re.compile(f"{BEGIN}(\\d+){END}")
MEDIUM = re.compile(f"{BEGIN}m(\\d+){END}")
TAGS = re.compile(f"[{GENERATED}{GENERATED_END}]")
ADVICE = "choose a template by name with template=NAME"


@dataclass
class _Rendering:
    """A rendering and what stands where in it, as (begin, end).

    Args:
        text: without marks of what was generated.
        generated: what the template's own generation tags enclose.
        messages: number of a message → its text, without the space around it.
        answers: number of an answer → what of the rendering is supervised for it.
    """

    text: str
    generated: list[tuple[int, int]]
    messages: dict[int, tuple[int, int]] = field(default_factory=dict)
    answers: dict[int, tuple[int, int]] = field(default_factory=dict)


def chat_segments(messages: Sequence[Message], template: Template, *, prompt: bool) -> list[TextSegment]:
    """Give the segments of a conversation; with `prompt` also what asks for an answer.

    Raises:
        DataError: the template refuses it, or does not let its answers be separated from what stands around them.
    """
    messages = [message for message in messages if message.role != "system" or (message.content and any(
        part.type != "text" or part.text for part in message.content))]
    if template.default_system and not any(message.role == "system" for message in messages):
        messages = [Message("system", (ContentPart("text", text=template.default_system),)), *messages]
    try:
        return _Conversation(messages, template).segments(prompt=prompt)
    except ConfigError as error:
        raise DataError(f"The chat template {error}; {ADVICE}.", kind="chat template") from error


class _Conversation:
    """Messages as texts, media as marks in them."""

    def __init__(self, messages: Sequence[Message], template: Template) -> None:
        self.roles, self.cut = [message.role for message in messages], [message.cut for message in messages]
        self.template, self._tokens = template, tuple(template.chat_tokens.items())
        self.probe = probe(template.chat, self._tokens, template.chat_specials)
        self.media: list[ContentPart] = []
        self.texts = [self._text(message) for message in messages]

    def segments(self, *, prompt: bool) -> list[TextSegment]:
        """Find the messages in the rendering and cut it there."""
        found = self._render(self.texts, prompt=prompt)
        marked = self._render([self._around(number, text) for number, text in enumerate(self.texts)], prompt=prompt)
        if not self._placed(found, marked.text):
            self._searched(found, prompt=prompt)
        if found.generated:
            self._tagged(found)
        return self._cut(found)

    def _text(self, message: Message) -> str:
        pieces = []
        for part in message.content:
            if part.type == "text":
                pieces.append(part.text or "")
                if any(mark in pieces[-1] for mark in MARKS):
                    raise ConfigError("cannot be given a text with the noncharacters U+FDD0 to U+FDD3")
            else:
                pieces.append(f"{BEGIN}m{len(self.media)}{END}")
                self.media.append(part)
        return "".join(pieces)

    def _around(self, number: int, text: str) -> str:
        """Put a mark in the place of a text, between the space around it."""
        core = text.strip()
        return text.replace(core, f"{BEGIN}{number}{END}", 1) if core else text

    def _render(self, texts: Sequence[str], *, prompt: bool) -> _Rendering:
        chat: list[ChatMessage] = [{"role": role, "content": text} for role, text in zip(self.roles, texts, strict=False)]
        text = render(self.template.chat, self._tokens, chat, prompt=prompt)
        tags = [match.start() - index for index, match in enumerate(TAGS.finditer(text))]
        return _Rendering(TAGS.sub("", text), list(zip(tags[::2], tags[1::2], strict=True)))

    def _placed(self, found: _Rendering, marked: str) -> bool:
        """Find messages and answers by the marks; False where the rendering is another text than theirs."""
        filled, behind = "", 0
        for match in MESSAGE.finditer(marked):
            number = int(match[1])
            filled += marked[behind: match.start()]
            core = self.texts[number].strip()
            found.messages[number] = (len(filled), len(filled) + len(core))
            filled, behind = filled + core, match.end()
        if filled + marked[behind:] != found.text:
            found.messages.clear()
            return False
        order = sorted(found.messages.values())
        for number, (begin, end) in found.messages.items():
            if self.roles[number] == "assistant" and not found.generated:
                start = max((before for _, before in order if before <= begin), default=0)
                opening = self._opening(number)
                if not found.text[start: begin].startswith(opening):
                    raise ConfigError(f"writes {found.text[start: begin]!r} before an answer, but asks for it with {opening!r}")
                found.answers[number] = (start + len(opening), self._answer_end(found.text, end))
        return True

    def _opening(self, number: int) -> str:
        """Give what follows the message before an answer where the answer is asked for."""
        role = self.roles[number - 1] if number else ""
        first = role == "user" and "user" not in self.roles[: number - 1]
        if role == "user":
            return self.probe.opening["first user" if first else "user"]
        texts = [self._around(index, text) for index, text in enumerate(self.texts[:number])]
        text = self._render(texts, prompt=True).text
        return text[max((match.end() for match in MESSAGE.finditer(text)), default=0):]

    def _answer_end(self, text: str, begin: int) -> int:
        """Give where the token ends that ends an answer, of which only space may stand before it."""
        end = text.find(self.probe.end, begin)
        if end >= 0 and not text[begin:end].strip():
            return end + len(self.probe.end)
        if not self.probe.closes and not text[begin:].strip():
            return len(text)  # nothing follows, so that its end is put there
        raise ConfigError(f"writes {text[begin: begin + 40]!r} behind an answer, but it ends with {self.probe.end!r}")

    def _searched(self, found: _Rendering, *, prompt: bool) -> None:
        """Find each answer as what the rendering has beyond that of the conversation before it."""
        position = 0
        for number, (role, text) in enumerate(zip(self.roles, self.texts, strict=True)):
            core = text.strip()
            if role != "assistant":
                begin = found.text.find(core, position) if core else -1
                if begin >= 0:
                    found.messages[number] = (begin, begin + len(core))
                    position = begin + len(core)
                continue
            before = self._render(self.texts[:number], prompt=True).text
            if not found.text.startswith(before):
                raise ConfigError(f"renders the conversation up to message {number + 1} otherwise than as part of the whole")
            following = self._render(self.texts[: number + 2], prompt=prompt).text if number + 1 < len(self.texts) else ""
            end = found.text.find(self.probe.end, len(before))
            if end < 0 or self.probe.end in core or (following and not following.startswith(before)):
                raise ConfigError(f"does not let the answer in message {number + 1} be separated from what stands around it")
            position = end + len(self.probe.end)
            found.messages[number], found.answers[number] = (len(before), end), (len(before), position)

    def _tagged(self, found: _Rendering) -> None:
        """Take what the template's own tags enclose as the answers."""
        numbers = [number for number, role in enumerate(self.roles) if role == "assistant"]
        spans = [span for span in found.generated if span[0] < span[1]]
        if len(spans) != len(numbers):
            raise ConfigError(f"encloses {len(spans)} answers in generation tags, but the conversation has {len(numbers)}")
        found.answers = dict(zip(numbers, spans, strict=True))

    def _cut(self, found: _Rendering) -> list[TextSegment]:
        """Give the segments between the ends of answers and the media."""
        missing = next((n for n, role in enumerate(self.roles) if role == "assistant" and n not in found.answers), None)
        if missing is not None:
            raise ConfigError(f"leaves out the answer in message {missing + 1}")
        segments: list[TextSegment] = []
        at = 0
        for number, (begin, end) in sorted(found.answers.items(), key=lambda answer: answer[1]):
            if begin < at:
                raise ConfigError("writes answers into each other")
            segments += self._between(found, at, begin)
            segments.append(self._answer(found, number, begin, end))
            at = end
        return segments + self._between(found, at, len(found.text))

    def _answer(self, found: _Rendering, number: int, begin: int, end: int) -> TextSegment:
        text, origins = found.text[begin:end], self._origins(found, begin, end)
        if not self.probe.closes and end == len(found.text) and not text.endswith(self.probe.end):
            text, origins = text + self.probe.end, (*origins, (len(self.probe.end), "template"))
        if self.cut[number] and text.endswith(self.probe.end):  # the end token stands alone in the last origin
            text = text[: -len(self.probe.end)]
            origins = self._origins(found, begin, begin + len(text))
        return TextSegment(text, supervised=True, origins=origins)

    def _between(self, found: _Rendering, begin: int, end: int) -> list[TextSegment]:
        """Give text and media of what is not supervised."""
        segments: list[TextSegment] = []
        at = begin
        for match in MEDIUM.finditer(found.text, begin, end):
            segments += [TextSegment(found.text[at: match.start()], origins=self._origins(found, at, match.start())),
                         TextSegment(media=self.media[int(match[1])])]
            at = match.end()
        rest = TextSegment(found.text[at:end], origins=self._origins(found, at, end))
        return [one for one in (*segments, rest) if one.media or one.text]

    def _origins(self, found: _Rendering, begin: int, end: int) -> tuple[tuple[int, str], ...]:
        """Give where a stretch of the rendering comes from."""
        names = {"user": "question", "assistant": "answer"}
        edges, origins = [begin, end], dict[int, str]()
        for number, (start, stop) in found.messages.items():
            if start < end and stop > begin:
                edges += [max(start, begin), min(stop, end)]
                origins[max(start, begin)] = names.get(self.roles[number], "system")
        return tuple((stop - start, origins.get(start, "template")) for start, stop in pairwise(sorted(set(edges))))
