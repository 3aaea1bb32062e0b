"""Conversations of the duplex bench made by hand, at 1000 samples a second: a sample is a millisecond."""

from collections.abc import Mapping, Sequence

import numpy as np

from omnikit.evaluation.duplex.conversation import Conversation, PeerEvent, PlayedSegment, Samples, Span
from omnikit.evaluation.duplex.scenario import Element, Scenario
from omnikit.inference.text_alignment import Mark

RATE = 1000


def span(kind: str, start: float, end: float, over: str = "") -> Span:
    """An element that stood there."""
    spoken = kind not in ("cough", "keyboard", "noise", "silence", "pause")
    return Span(Element(kind, "words" if spoken else "", 0.0 if spoken else 1.0), start, end, over)


def audio(at: int, item: str, milliseconds: int) -> PeerEvent:
    """So much audio of an answer came."""
    return PeerEvent(at, "audio", item, audio=np.full(milliseconds, 0.5, np.float32), rate=RATE)


def conversation(spans: Sequence[Span], events: Sequence[PeerEvent], segments: Sequence[PlayedSegment] = (), *,
                 task: str = "", stops: Sequence[tuple[int, str]] = (), history: Mapping[str, str] | None = None,
                 marks: Mapping[str, Sequence[Mark]] | None = None) -> Conversation:
    """A recording of ten seconds."""
    silent: Samples = np.zeros(10 * RATE, np.float32)
    scenario = Scenario("made", tuple(one.element for one in spans) or (Element("silence", seconds=10.0),), task)
    return Conversation(scenario, spans, events, segments, silent, RATE, silent, RATE, stops, history or {}, marks or {})
