"""What the exact times of a conversation show: which elements were answered, what stopped an answer, what the history holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from omnikit.evaluation.duplex.conversation import FRAME_MS, Conversation, Span
from omnikit.evaluation.duplex.scenario import ADDRESSED, IGNORED, QUIET
from omnikit.inference.live.played_text import text_until

STOP_MS = 2500  # behind the end of an element in which an answer that stops was stopped by it
TOLERANCE_MS = 2 * FRAME_MS  # between two counts of what was played


@dataclass(frozen=True)
class ElementResult:
    """What became of an element of the user's track; times in milliseconds.

    Args:
        over: whether an answer was playing when it began.
        answers: answers that began because of it.
        response_ms: from its end to the audio of the first of them, or its text where it has no audio.
        stopped: whether the answer that was playing was stopped; None where none was.
        stop_ms: from its beginning to the last audio that was played of that answer.
        audio_after_stop_ms: audio of that answer that still came after the event that speech began.
        held_ms: how long playback was held back before it went on.
    """

    kind: str
    text: str
    start: int
    end: int
    over: bool
    answers: int
    response_ms: int | None = None
    stopped: bool | None = None
    stop_ms: int | None = None
    audio_after_stop_ms: int | None = None
    held_ms: int = 0

    @property
    def false_stop(self) -> bool:
        """Whether it stopped an answer that should have gone on."""
        return self.kind in IGNORED and self.stopped is True

    @property
    def missed_stop(self) -> bool:
        """Whether it interrupted an answer that went on."""
        return self.kind == "interruption" and self.stopped is False


@dataclass(frozen=True)
class AnswerResult:
    """One answer.

    Args:
        text: all that came of it.
        played_ms: how much of its audio was played; of `audio_ms`.
        history: its text in the model's history at the end; None where that is unknown.
        history_equal: whether that is what was played; None where it is unknown.
        cause: kind of the element that it answers; "" where none had ended.
    """

    id: str
    text: str
    start: int
    played_ms: int
    audio_ms: int
    history: str | None
    history_equal: bool | None
    cause: str


def element_results(conversation: Conversation) -> list[ElementResult]:
    """Give what became of each element that is not silence."""
    causes = answer_causes(conversation)
    return [_element(conversation, span, causes) for span in conversation.spans if span.element.kind not in QUIET]


def answer_causes(conversation: Conversation) -> dict[str, Span | None]:
    """Give for each answer the element that ended last before it began; None where none had."""
    spans = [span for span in conversation.spans if span.element.kind not in QUIET]
    begun = {event.item: event.at for event in conversation.events if event.kind == "answer_started"}
    return {item: max((span for span in spans if span.end <= at), key=lambda span: span.end, default=None)
            for item, at in begun.items()}


def answer_results(conversation: Conversation) -> list[AnswerResult]:
    """Give each answer with what was played of it and what the history holds."""
    causes, rate = answer_causes(conversation), conversation.output_rate
    found = []
    for event in conversation.events:
        if event.kind == "answer_started":
            item, cause = event.item, causes[event.item]
            found.append(AnswerResult(
                item, conversation.text(item), event.at, conversation.played_samples(item) * 1000 // rate,
                conversation.given_samples(item) * 1000 // rate, conversation.history.get(item),
                history_equal(conversation, item), cause.element.kind if cause else ""))
    return found


def history_equal(conversation: Conversation, item: str) -> bool | None:
    """Give whether the history holds of an answer the words that were played; None where the history is unknown, or where the
    conversation ended while the answer was held back, so that nothing had decided whether it goes on.

    Two counts of what was played may differ by two frames. Without marks a text that was cut must be the beginning of the
    answer's, and empty where nothing was played.
    """
    history, text = conversation.history.get(item), conversation.text(item)
    if history is None or _held_at_the_end(conversation, item):
        return None
    played, given, rate = conversation.played_samples(item), conversation.given_samples(item), conversation.output_rate
    slack = TOLERANCE_MS * rate // 1000
    if not given or not any(name == item for _, name in conversation.stops):
        return history == text
    if item not in conversation.marks:
        return text.startswith(history) and (played > slack or not history) and (played >= given - slack or history != text)
    marks = conversation.marks[item]
    least, most = (text_until(text, marks, max(played + shift, 0), rate) for shift in (-slack, slack))
    return (most.startswith(history) or (played + slack >= given and history == text)) and history.startswith(least)


def _held_at_the_end(conversation: Conversation, item: str) -> bool:
    changes = [event.kind for event in conversation.events
               if event.item == item and event.kind in ("paused", "resumed", "interrupted")]
    return changes[-1:] == ["paused"]


def _element(conversation: Conversation, span: Span, causes: Mapping[str, Span | None]) -> ElementResult:
    element = span.element
    answers = [item for item, cause in causes.items() if cause is span]
    began = conversation.began(answers[0]) if answers else None
    stop = _stop(conversation, span)
    return ElementResult(
        element.kind, element.text, round(span.start), round(span.end), bool(span.over), len(answers),
        round(began - span.end) if began is not None else None,
        stop is not None if span.over else None,
        round(stop - span.start) if stop is not None and element.kind in ADDRESSED else None,
        audio_after_stop(conversation, span.over, stop) if stop is not None else None, _held(conversation, span))


def _stop(conversation: Conversation, span: Span) -> float | None:
    """Give when the answer that was playing was stopped by an element; None where it was not.

    A stop that a question may have caused is not put down to what must be ignored.
    """
    at = next((at for at, item in conversation.stops if item == span.over and _may_stop(span, at)), None) if span.over else None
    if at is None or span.element.kind not in IGNORED:
        return at
    asked = any(other.element.addressed and other.over == span.over and _may_stop(other, at) for other in conversation.spans)
    return None if asked else at


def _may_stop(span: Span, at: float) -> bool:
    return span.start <= at <= span.end + STOP_MS


def audio_after_stop(conversation: Conversation, item: str, stop: float) -> int:
    """Give how many milliseconds of an answer came after the event that speech began, which stopped it."""
    started = [number for number, event in enumerate(conversation.events)
               if event.kind == "speech_started" and event.at <= stop]
    after = conversation.events[started[-1]:] if started else ()
    return round(sum(event.audio_ms for event in after if event.item == item))


def _held(conversation: Conversation, span: Span) -> int:
    """Give how long the answer that was playing was held back because of an element, and then went on."""
    held, since = 0, None
    for event in conversation.events:
        if event.item != span.over or not span.start <= event.at <= span.end + STOP_MS:
            continue
        if event.kind == "paused":
            since = event.at
        elif event.kind == "resumed" and since is not None:
            held, since = held + event.at - since, None
    return held
