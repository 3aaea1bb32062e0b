"""Images and videos that were shown before a question: part of its message where the model was trained on such messages."""

from __future__ import annotations

from collections.abc import Iterable, Set

from omnikit.contracts.types import ContentPart, Message
from omnikit.plan.plan import Plan

VISUAL = ("image", "video")
QUESTIONS = ("audio", "text")
Pair = tuple[str, str]  # what is shown, what asks


def trained_pairs(plan: Plan) -> frozenset[Pair]:
    """Give what stood together in a message of the training data: by its datasets' `provides`."""
    names = {name for stage in plan.stages.values() for name in stage.datasets}
    held = [plan.readers[name].provides for name in names]
    return frozenset((shown, asked) for shown in VISUAL for asked in QUESTIONS
                     if any(shown in provides and asked in provides for provides in held))


def is_visual(message: Message) -> bool:
    """Say whether a message only shows something."""
    return message.role == "user" and bool(message.content) and all(part.type in VISUAL for part in message.content)


def ordered(parts: Iterable[ContentPart]) -> tuple[ContentPart, ...]:
    """Give the parts of a question in the order of omnikit.inference.question: behind images and videos text, then audio."""
    parts = list(parts)
    visual, texts, rest = ([part for part in parts if kind(part) == wanted] for wanted in ("visual", "text", "rest"))
    return tuple([*visual, *texts, *rest] if visual else [*rest, *texts])


def kind(part: ContentPart) -> str:
    """Give what a part is to the order of a question."""
    return "visual" if part.type in VISUAL else "text" if part.type == "text" else "rest"


def join_visual(messages: list[Message], pairs: Set[Pair]) -> list[Message]:
    """Make messages that only show something part of the question behind them, where such pairs were trained."""
    found: list[Message] = []
    for message in messages:
        shown: list[Message] = []
        while found and is_visual(found[-1]) and _fits(found[-1], message, pairs):
            shown.insert(0, found.pop())
        content = ordered(part for one in (*shown, message) for part in one.content)
        found.append(Message("user", content) if shown else message)
    return found


def _fits(shown: Message, question: Message, pairs: Set[Pair]) -> bool:
    asked = {part.type for part in question.content} & set(QUESTIONS) if question.role == "user" else set()
    return bool(asked) and all((part.type, one) in pairs for part in shown.content for one in asked)
