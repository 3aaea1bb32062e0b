"""Answers against the clock: what counts as first, with a session that plays events back. No test reads a real clock."""

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest

from omnikit.contracts.types import ContentPart, Message, Sample
from omnikit.evaluation.latency import as_question, independent, measure, streams
from omnikit.evaluation.records import Timing
from omnikit.inference.answer import Answer, Event
from omnikit.recipe.media import MediaLimits

SAMPLES = np.zeros(50, dtype=np.float32)
QUESTION = ContentPart("audio", audio=np.zeros(16000, dtype=np.float32))


class Whole:
    """A head and a codec that need the whole answer."""

    def loss(self) -> None: ...
    def encode(self) -> None: ...
    def decode(self) -> None: ...


class Streaming(Whole):
    """Both, streaming."""

    def init_state(self) -> None: ...
    def step(self) -> None: ...


class Playing:
    """A session that gives events, and notes how it was asked."""

    def __init__(self, head: object, codec: object, speaks: bool = True) -> None:
        self.speech = SimpleNamespace(name="speech") if speaks else None
        self.model = SimpleNamespace(head=lambda name: head, codec=lambda name: codec)
        self.plan = SimpleNamespace(recipe=SimpleNamespace(media=MediaLimits()))
        self.asked: list[tuple[int | None, bool]] = []

    def stream(self, audio: object, text: object, system: object, *, omega: int | None = None,
               independent: bool = False) -> Iterator[Event]:
        self.asked.append((omega, independent))
        if self.speech is None:
            yield Event(0.3, state="audio")
            yield Event(0.5, text="a")
            yield Event(0.8, text="b")
            return
        yield Event(0.1, codes=((1,),))
        yield Event(0.2, text="a")
        yield Event(0.3, waveform=np.zeros(0, dtype=np.float32), sample_rate=100)
        yield Event(0.4, waveform=SAMPLES, sample_rate=100)
        yield Event(0.5, text="b")
        yield Event(0.9, waveform=SAMPLES, sample_rate=100)

    def answer(self, audio: object, text: object, system: object) -> Answer:
        self.asked.append((None, False))
        return Answer("ab", np.zeros(150, dtype=np.float32) if self.speech else None, 100)


def row(name: str, *parts: ContentPart, before: tuple[Message, ...] = ()) -> Sample:
    return Sample(name, (*before, Message("user", parts), Message("assistant", (ContentPart("text", text="x"),))))


def test_times_come_from_the_events() -> None:
    session = Playing(Streaming(), Streaming())
    timings = measure(session, [row("a", QUESTION), row("b", QUESTION)], (10, 40))  # type: ignore[arg-type]  # a double
    assert timings[:4] == [Timing(name, omega, 0.2, 0.4, 0.9, 1.0) for omega in (10, 40) for name in "ab"]
    assert [(t.id, t.omega, t.audio_seconds) for t in timings[4:]] == [("a", None, 1.5), ("b", None, 1.5)]
    assert timings[4].ttft == timings[4].time_to_first_audio == timings[4].total_time  # an answer that comes whole


def test_the_first_question_of_each_setting_is_asked_once_before() -> None:
    session = Playing(Streaming(), Streaming())
    measure(session, [row("a", QUESTION), row("b", QUESTION)], (10,))  # type: ignore[arg-type]  # a double
    assert session.asked == [(10, False)] * 3 + [(None, False)] * 3


@pytest.mark.parametrize(
    ("head", "codec", "speaks", "expected"),
    [(Streaming(), Streaming(), True, (True, False)), (Streaming(), Whole(), True, (True, True)),
     (Whole(), Streaming(), True, (False, False)), (Streaming(), Streaming(), False, (False, False))],
    ids=["all", "codec does not", "head does not", "no speech"],
)
def test_what_a_session_can_stream(head: object, codec: object, speaks: bool, expected: tuple[bool, bool]) -> None:
    session = Playing(head, codec, speaks)
    assert (streams(session), independent(session)) == expected  # type: ignore[arg-type]  # a double


def test_codec_that_cannot_stream_decodes_segments_by_themselves() -> None:
    session = Playing(Streaming(), Whole())
    measure(session, [row("a", QUESTION)], (10,))  # type: ignore[arg-type]  # a double
    assert session.asked[0] == (10, True)


def test_text_of_a_session_without_speech_is_timed_while_it_is_generated() -> None:
    [timing] = measure(Playing(None, None, speaks=False), [row("a", QUESTION)], (10, 20))  # type: ignore[arg-type]  # a double
    assert timing == Timing("a", None, 0.5, None, 0.8, 0.0)


def test_questions_are_given_as_a_session_takes_them() -> None:
    half = ContentPart("audio", audio=np.zeros(800, dtype=np.float32), sample_rate=8000)
    system = Message("system", (ContentPart("text", text="be brief"),))
    found = as_question(row("a", half, ContentPart("text", text="why"), before=(system,)))
    assert found is not None
    assert (len(found["audio"]), found["text"], found["system"]) == (1600, "why", "be brief")  # type: ignore[arg-type]  # a wave


def test_images_and_videos_are_given() -> None:
    pixels = np.zeros((2, 4, 4, 3), dtype=np.uint8)
    video = ContentPart("video", pixels=pixels)
    found = as_question(row("a", ContentPart("image", path="x.png"), video, ContentPart("text", text="why"), QUESTION))
    assert found is not None and found["image"] == ["x.png"] and found["video"][0] is pixels  # type: ignore[index]  # a list
    assert found["text"] == "why"
    assert as_question(row("a", ContentPart("video", pixels=pixels, frame_rate=3.0), ContentPart("text", text="why"))) is None


@pytest.mark.parametrize(
    "sample",
    [row("a", QUESTION, QUESTION), row("b", ContentPart("text", text="why"), QUESTION),
     row("c", QUESTION, before=(Message("user", (QUESTION,)), Message("assistant", (ContentPart("text", text="x"),)))),
     row("d", ContentPart("image", path="x.png"))],
    ids=["two audios", "text before audio", "an earlier turn", "image"],
)
def test_question_that_a_session_cannot_take_is_left_out(sample: Sample) -> None:
    assert as_question(sample) is None
