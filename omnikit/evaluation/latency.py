"""Latency of answers, one at a time: time to first token, time to first audio and total time, for several Ω."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from omnikit.contracts.streaming import SpeakingHead, StreamingCodec, StreamingHead
from omnikit.contracts.types import ContentPart, Sample
from omnikit.data.batch.signals import load_waveform
from omnikit.data.media.containers import DEFAULTS
from omnikit.data.media.image import decode_image
from omnikit.evaluation.records import Timing
from omnikit.inference.answer_timing import AnswerTiming
from omnikit.inference.question import Audio, Images
from omnikit.inference.session import Session
from omnikit.progress import progress
from omnikit.recipe.media import MediaLimits

OMEGAS: tuple[int, ...] = (10, 20, 40, 80)
RATE = 16000  # of the audio of questions, as a session takes it
ORDERS = (["audio"], ["text"], ["audio", "text"])  # of a question's parts, as a session takes them
VISUAL_ORDERS = (["audio"], ["text"], ["text", "audio"])  # the same behind images and videos
FRAME_RATE = 25.0  # of videos as pixels, as a session takes them


class Question(TypedDict, total=False):
    """A question as Session.answer and Session.stream take it."""

    audio: Audio | None
    text: str | None
    system: str | None
    image: Images | None
    video: Images | None


def measure(session: Session, samples: Sequence[Sample], omegas: Sequence[int]) -> list[Timing]:
    """Stream every question with each Ω, then answer it without streaming; the first question is a warm-up before."""
    questions = [(sample.id, question) for sample in samples if (question := as_question(sample, session.plan.recipe.media))]
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


def as_question(sample: Sample, limits: MediaLimits = DEFAULTS) -> Question | None:
    """Give a sample's question as a session takes it; None for one with earlier turns, several audios, or a video of pixels at
    another frame rate."""
    turns = [message for message in sample.messages if message.role != "system"]
    systems = [message.content for message in sample.messages if message.role == "system"]
    parts = turns[0].content if turns else ()
    images, videos = ([part for part in parts if part.type == medium] for medium in ("image", "video"))
    visual, rest = [*images, *videos], [part.type for part in parts[len(images) + len(videos):]]
    ordered = list(parts[: len(visual)]) == visual and rest in (VISUAL_ORDERS if visual else ORDERS)
    one_turn = [turn.role for turn in turns] in (["user"], ["user", "assistant"])
    if not one_turn or not ordered or not all(map(_has_session_rate, videos)):
        return None
    audio = next((part for part in parts if part.type == "audio"), None)
    text = next((part.text for part in parts if part.type == "text"), None)
    system = " ".join(part.text or "" for part in systems[0]) if systems else None
    found = Question(audio=load_waveform(audio, RATE, sample.id, limits) if audio else None, text=text, system=system)
    if images:
        found["image"] = [_pixels_or_path(part) for part in images]
    if videos:
        found["video"] = [_pixels_or_path(part) for part in videos]
    return found


def _has_session_rate(video: ContentPart) -> bool:
    return video.data is None and (video.pixels is None or video.frame_rate == FRAME_RATE)


def _pixels_or_path(part: ContentPart) -> str | NDArray[np.uint8]:
    if part.pixels is not None:
        return part.pixels
    if part.data is not None:
        return decode_image(part.data, name=f"an embedded {part.type}", most=DEFAULTS.max_pixels, formats=None)
    assert part.path is not None, "a row without an image was refused when it was answered"
    return part.path


def streams(session: Session) -> bool:
    """Say whether a session streams speech."""
    output = session.speech
    return output is not None and isinstance(session.model.head(output.name), StreamingHead | SpeakingHead)


def independent(session: Session) -> bool:
    """Say whether each segment must be decoded by itself, because the codec cannot stream."""
    output = session.speech
    return output is not None and not isinstance(session.model.codec(output.name), StreamingCodec)


def _time(session: Session, name: str, question: Question, omega: int | None) -> Timing:
    if omega is None and session.speech is not None:
        start = time.perf_counter()
        answer = session.answer(**question)
        total = time.perf_counter() - start
        return Timing(name, None, total, total if answer.seconds else None, total, answer.seconds)
    times, total = AnswerTiming(), 0.0
    events = session.stream(**question) if omega is None else session.stream(  # without speech only text is streamed
        **question, omega=omega, independent=independent(session))
    for event in events:
        times.add(event)
        total = event.seconds
    ttft = total if times.ttft is None else times.ttft
    return Timing(name, omega, ttft, times.time_to_first_audio, total, times.audio_seconds)
