"""Answers against the clock, one at a time: when the first text, the first sound and all of it are there, for several Ω."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from omnikit.contracts.streaming import SpeakingHead, StreamingCodec, StreamingHead
from omnikit.contracts.types import ContentPart, Sample
from omnikit.data.batch.signals import load_waveform
from omnikit.evaluation.records import Timing
from omnikit.inference.session import Audio, Images, Session
from omnikit.inference.timing import AnswerTiming
from omnikit.progress import progress

OMEGAS: tuple[int, ...] = (10, 20, 40, 80)
RATE = 16000  # of questions handed to a session
ORDERS = (["audio"], ["text"], ["audio", "text"])  # of a question's parts, as a session takes them
SEEN_ORDERS = (["audio"], ["text"], ["text", "audio"])  # the same behind images and videos
FRAME_RATE = 25.0  # of videos that are handed to a session as pixels


class Question(TypedDict, total=False):
    """A question as Session.answer and Session.stream take it."""

    audio: Audio | None
    text: str | None
    system: str | None
    image: Images | None
    video: Images | None


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


def asked(sample: Sample) -> Question | None:
    """Give a sample's question as a session takes it; None for one with earlier turns, several sounds, or a video of pixels at
    another frame rate."""
    turns = [message for message in sample.messages if message.role != "system"]
    systems = [message.content for message in sample.messages if message.role == "system"]
    parts = turns[0].content if turns else ()
    images, videos = ([part for part in parts if part.type == medium] for medium in ("image", "video"))
    seen, rest = [*images, *videos], [part.type for part in parts[len(images) + len(videos):]]
    ordered = list(parts[: len(seen)]) == seen and rest in (SEEN_ORDERS if seen else ORDERS)
    if [turn.role for turn in turns] not in (["user"], ["user", "assistant"]) or not ordered or not all(map(_whole, videos)):
        return None
    sound = next((part for part in parts if part.type == "audio"), None)
    text = next((part.text for part in parts if part.type == "text"), None)
    system = " ".join(part.text or "" for part in systems[0]) if systems else None
    found = Question(audio=load_waveform(sound, RATE, sample.id) if sound else None, text=text, system=system)
    if images:
        found["image"] = [_shown(part) for part in images]
    if videos:
        found["video"] = [_shown(part) for part in videos]
    return found


def _whole(video: ContentPart) -> bool:
    return video.pixels is None or video.frame_rate == FRAME_RATE


def _shown(part: ContentPart) -> str | NDArray[np.uint8]:
    if part.pixels is not None:
        return part.pixels
    assert part.path is not None, "a row without an image was refused when it was answered"
    return part.path


def streams(session: Session) -> bool:
    """Say whether a session speaks while it writes."""
    output = session.speech
    return output is not None and isinstance(session.model.head(output.name), StreamingHead | SpeakingHead)


def independent(session: Session) -> bool:
    """Say whether segments must be spoken each by itself, because the codec has no state to carry over."""
    output = session.speech
    return output is not None and not isinstance(session.model.codec(output.name), StreamingCodec)


def _time(session: Session, name: str, question: Question, omega: int | None) -> Timing:
    if omega is None and session.speech is not None:
        start = time.perf_counter()
        answer = session.answer(**question)
        whole = time.perf_counter() - start
        return Timing(name, None, whole, whole if answer.seconds else None, whole, answer.seconds)
    times, whole = AnswerTiming(), 0.0
    events = session.stream(**question) if omega is None else session.stream(  # without speech only text is streamed
        **question, omega=omega, independent=independent(session))
    for event in events:
        times.notice(event)
        whole = event.seconds
    return Timing(name, omega, whole if times.text is None else times.text, times.sound, whole, times.said)
