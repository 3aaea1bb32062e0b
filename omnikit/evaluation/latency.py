"""Answers against the clock, one at a time: when the first text, the first sound and all of it are there, for several Ω."""

from __future__ import annotations

import time
from collections.abc import Sequence

from omnikit.data.signals import waveform
from omnikit.evaluation.records import Timing
from omnikit.inference.session import Session
from omnikit.inference.times import Times
from omnikit.streaming import StreamingCodec, StreamingHead
from omnikit.training.progress import progress
from omnikit.types import Sample

OMEGAS: tuple[int, ...] = (10, 20, 40, 80)
RATE = 16000  # of questions handed to a session
ORDERS = (["audio"], ["text"], ["audio", "text"])  # of a question's parts, as a session takes them


def timed(session: Session, samples: Sequence[Sample], omegas: Sequence[int]) -> list[Timing]:
    """Stream every question with each Ω, then answer it whole; the first question is asked once before the clock runs."""
    questions = [(sample.id, question) for sample in samples if (question := asked(sample))]
    settings = [*(omegas if streams(session) else ()), None]
    timings: list[Timing] = []
    with progress("eval latency") as report:
        for omega in settings:
            for name, question in questions[:1]:
                _time(session, name, question, omega)
            for name, question in questions:
                timings.append(_time(session, name, question, omega))
                report(len(timings) / (len(settings) * len(questions)))
    return timings


def asked(sample: Sample) -> dict[str, object] | None:
    """Give a sample's question as a session takes it; None for one with earlier turns or several sounds."""
    turns = [message for message in sample.messages if message.role != "system"]
    systems = [message.content for message in sample.messages if message.role == "system"]
    parts = turns[0].content if turns else ()
    if [turn.role for turn in turns] not in (["user"], ["user", "assistant"]) or [p.type for p in parts] not in ORDERS:
        return None
    sound = next((part for part in parts if part.type == "audio"), None)
    text = next((part.text for part in parts if part.type == "text"), None)
    system = " ".join(part.text or "" for part in systems[0]) if systems else None
    return {"audio": waveform(sound, RATE, sample.id) if sound else None, "text": text, "system": system}


def streams(session: Session) -> bool:
    """Say whether a session speaks while it writes."""
    outlet = session.speech
    return outlet is not None and isinstance(session.model.head(outlet.name), StreamingHead)


def independent(session: Session) -> bool:
    """Say whether segments must be spoken each by itself, because the codec has no state to carry over."""
    outlet = session.speech
    return outlet is not None and not isinstance(session.model.codec(outlet.name), StreamingCodec)


def _time(session: Session, name: str, question: dict[str, object], omega: int | None) -> Timing:
    if omega is None:
        start = time.perf_counter()
        answer = session.answer(**question)  # type: ignore[arg-type]  # made by `asked`
        whole = time.perf_counter() - start
        return Timing(name, None, whole, whole if answer.seconds else None, whole, answer.seconds)
    times, whole = Times(), 0.0
    for event in session.stream(**question, omega=omega, independent=independent(session)):  # type: ignore[arg-type]  # as above
        times.notice(event)
        whole = event.seconds
    return Timing(name, omega, whole if times.text is None else times.text, times.sound, whole, times.said)
