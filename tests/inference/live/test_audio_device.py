"""Files and the audio of the system in place of a microphone and a loudspeaker; time is a double's."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from live_doubles import RATE, STEP, FakeTime, answering, audio, live, names, silence, speech, text
from live_doubles import session as make_session
from numpy.typing import NDArray

from omnikit.errors import RunError
from omnikit.inference.live.audio_device import Clock, FileDevice, PlayQueue
from omnikit.inference.live.conversation import converse
from omnikit.inference.live.events import AnswerStarted, Interrupted, LiveEvent
from omnikit.inference.live.system_audio import SystemAudio
from omnikit.inference.session import Session

WORDS = "one two three four five six"


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return make_session(tmp_path_factory.mktemp("device"))


def test_a_play_queue_gives_its_audio_then_silence() -> None:
    queue = PlayQueue()
    queue.put(np.array([1, 2, 3], np.float32))
    queue.put(np.array([4], np.float32))
    assert [queue.take(2).tolist(), len(queue), queue.take(3).tolist()] == [[1, 2], 2, [3, 4, 0]]


def recorded(folder: Path, *parts: tuple[float, int]) -> Path:
    soundfile.write(folder / "talk.wav", audio(*parts), 16000, subtype="FLOAT")
    return folder / "talk.wav"


def talk(session: Session, folder: Path, *parts: tuple[float, int]) -> tuple[list[LiveEvent], NDArray[np.float32]]:
    """Give what happens, and what the loudspeaker played."""
    clock = FakeTime()
    device = FileDevice(recorded(folder, *parts), folder / "out.wav", Clock(clock.now, clock.sleep))
    one = live(session, answering(WORDS, "audio"), answering("seven", "audio"), pace=None)
    events = list(converse(one, device))
    device.close()
    played: NDArray[np.float32] = soundfile.read(folder / "out.wav", dtype="float32")[0]
    return events, played


def test_a_recording_is_answered_and_the_answer_is_played_to_its_end(session: Session, tmp_path: Path) -> None:
    events, played = talk(session, tmp_path, speech(20), silence(10))
    assert text(events, "answer_1") == WORDS and names(events)[-1] == "AnswerDone"
    started = next(event.at for event in events if isinstance(event, AnswerStarted)) * RATE // 1000
    assert not played[:started].any() and np.count_nonzero(played) == 6 * STEP
    assert played[started + 2 * STEP] == pytest.approx(0.2, abs=0.11)  # words follow one another: amplitudes 0.1, 0.2, …


def test_an_interrupted_answer_is_played_to_where_it_was_stopped(session: Session, tmp_path: Path) -> None:
    events, played = talk(session, tmp_path, speech(20), silence(40), speech(20), silence(5))
    stopped = next(event for event in events if isinstance(event, Interrupted))
    first = np.count_nonzero(played) - STEP  # the second answer has one word
    assert 0 < first < 6 * STEP and first == pytest.approx(stopped.played_ms * RATE // 1000, abs=2 * 32 * RATE // 1000)
    assert text(events, "answer_2") == "seven"


# ---- the system ----


class FakePortAudioError(Exception):
    pass


class FakeStream:
    """A stream of the library: its callback is called by the test."""

    def __init__(self, callback: Callable[..., None], samplerate: int, channels: int, dtype: str) -> None:
        self.callback, self.rate, self.open = callback, samplerate, False

    def start(self) -> None:
        self.open = True

    def close(self) -> None:
        self.open = False


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    streams: list[FakeStream] = []

    def stream(**options: object) -> FakeStream:
        streams.append(FakeStream(**options))  # type: ignore[arg-type]
        return streams[-1]

    found = SimpleNamespace(PortAudioError=FakePortAudioError, query_devices=lambda kind: {"default_samplerate": 44100.0},
                            InputStream=stream, OutputStream=stream, streams=streams)
    monkeypatch.setitem(sys.modules, "sounddevice", found)  # type: ignore[arg-type]
    return found


def test_system_audio_gives_what_its_microphone_took(library: SimpleNamespace) -> None:
    device = SystemAudio()
    for value in (1.0, 2.0):
        library.streams[0].callback(np.full((3, 1), value, np.float32), 3, None, None)
    first, rest = device.read(wait=True), device.read(wait=False)
    assert first is not None and rest is not None
    assert (device.sample_rate, first.tolist(), len(rest)) == (44100, [1, 1, 1, 2, 2, 2], 0)


def test_system_audio_plays_what_is_written_until_it_is_cleared(library: SimpleNamespace) -> None:
    device, out = SystemAudio(), np.zeros((4, 1), np.float32)
    device.write(np.ones(6, np.float32), RATE)
    loudspeaker = library.streams[1]
    loudspeaker.callback(out, 4, None, None)
    assert (loudspeaker.rate, out[:, 0].tolist()) == (RATE, [1, 1, 1, 1])
    device.clear()
    loudspeaker.callback(out, 4, None, None)
    assert not out.any()
    device.close()
    assert not any(stream.open for stream in library.streams)


def test_a_machine_without_a_microphone_is_an_error(library: SimpleNamespace) -> None:
    def none(kind: str) -> dict[str, float]:
        raise FakePortAudioError("Error querying device -1")

    library.query_devices = none
    with pytest.raises(RunError, match=r"No microphone can be opened \(Error querying device -1\); connect one"):
        SystemAudio()


def test_a_missing_package_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)  # type: ignore[arg-type]
    with pytest.raises(RunError, match=r"needs the package sounddevice, which is not installed; pip install 'omnikit\[live\]'"):
        SystemAudio()
