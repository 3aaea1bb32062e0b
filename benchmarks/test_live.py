"""What a live session adds to the model: time for each frame, time from the end of a turn to the first token, memory.

llama_omni/tiny with random weights, silero, a spoken question; processor time of one thread. The same prompt is given to the
engine alone, and to Session.stream.
"""

import time
import tracemalloc
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from bench_table import Measures
from numpy.typing import NDArray
from omnikit_espeak.config import Espeak

from omnikit.contracts.types import Sample
from omnikit.inference.engine import AnswerOptions
from omnikit.inference.live.events import AudioDelta, LiveEvent, Paused, SpeechStopped, TextDelta
from omnikit.inference.live.session import LiveSession
from omnikit.inference.scheduler.batch import engine_for
from omnikit.inference.session import Session, build
from omnikit.recipe.compose import compose
from omnikit.recipe.live import TurnPolicy

FRAME, ROUNDS, CONVERSATIONS = 512, 5, 50
ADDED = 10.0  # ms, of the session at the 95th percentile
STOP = 100.0  # ms of audio, from the beginning of speech to the last audio that was sent
POLICY = TurnPolicy(history_turns=0)


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield build(compose("llama_omni/tiny", []), device="cpu")
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def question() -> NDArray[np.float32]:
    spoken = Espeak().build().speak("what is two plus one")[0]
    return np.concatenate([np.zeros(8000, np.float32), spoken, np.zeros(16000, np.float32)])


def frames(audio: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    return list(audio[:len(audio) // FRAME * FRAME].reshape(-1, FRAME))


def timed(call: Callable[[], list[LiveEvent]]) -> tuple[float, list[LiveEvent]]:
    start = time.process_time()
    events = call()
    return 1000 * (time.process_time() - start), events


def test_a_frame_costs_little(session: Session, question: NDArray[np.float32], measures: Measures) -> None:
    live = LiveSession(session, engine_for(session), POLICY)
    milliseconds = [timed(lambda frame=frame: live.push(frame))[0] for frame in frames(np.concatenate([question] * ROUNDS))]
    measures.number("a frame of 32 ms, median", float(np.median(milliseconds)), "ms")
    measures.number("a frame of 32 ms, p95", float(np.percentile(milliseconds, 95)), "ms", most=ADDED)


def test_a_turn_is_answered_as_soon_as_by_the_engine(session: Session, question: NDArray[np.float32],
                                                     measures: Measures) -> None:
    lived, alone, bare = [], [], []
    for _ in range(ROUNDS):
        engine = engine_for(session)
        live, events = LiveSession(session, engine, POLICY), list[LiveEvent]()
        waiting = iter(frames(question))
        while not any(isinstance(event, SpeechStopped) for event in events):
            start = time.process_time()
            events = live.push(next(waiting))
        while not any(isinstance(event, TextDelta) for event in events):
            engine.step()
            events = live.advance()
        lived.append(1000 * (time.process_time() - start))
        start = time.process_time()
        answer = engine.begin(Sample("turn", (live.history[0],)), AnswerOptions())
        while not any(event.text for event in answer.take()):
            engine.step()
        alone.append(1000 * (time.process_time() - start))
        turn = live.history[0].content[0]
        start = time.process_time()
        assert turn.audio is not None and next(event for event in session.stream(turn.audio) if event.text)
        bare.append(1000 * (time.process_time() - start))
    measures.number("time to first token after a turn", float(np.median(lived)), "ms")
    measures.number("the same by the engine alone", float(np.median(alone)), "ms")
    measures.number("the same by Session.stream", float(np.median(bare)), "ms")
    measures.number("added by the session", float(np.median(np.subtract(lived, alone))), "ms", most=ADDED)


def test_no_audio_follows_the_beginning_of_speech(session: Session, question: NDArray[np.float32], measures: Measures) -> None:
    live = LiveSession(session, engine_for(session), POLICY, pace=1)
    events = live.push(np.concatenate([question, question]))
    paused = [event.at for event in events if isinstance(event, Paused)]
    speaking = [event for event in events if isinstance(event, AudioDelta) for at in paused if at <= event.at < at + 1000]
    late = max((event.at for event in speaking), default=0) - max(paused, default=0)
    measures.number("last audio after the detected beginning of speech", max(late, 0), "ms", most=STOP)
    assert paused


def test_memory_of_idle_conversations(session: Session, measures: Measures) -> None:
    engine, silence = engine_for(session), np.zeros(32000, np.float32)
    LiveSession(session, engine, POLICY).push(silence)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    lives = [LiveSession(session, engine, POLICY) for _ in range(CONVERSATIONS)]
    for live in lives:
        live.push(silence)
    memory = (tracemalloc.get_traced_memory()[0] - before) / len(lives)
    tracemalloc.stop()
    measures.number("an idle conversation", memory / 1024, "KiB")
