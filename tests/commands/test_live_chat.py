"""Talking to scripted answers on the terminal, with a recording or a double as the sound device."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from live_doubles import Amplitude, FakeTime, ScriptedAnswer, ScriptedEngine, answering, audio, noise, silence, speech
from live_doubles import session as make_session
from numpy.typing import NDArray

from omnikit.cli import main
from omnikit.inference import session as sessions
from omnikit.inference.live import audio_device, system_audio
from omnikit.inference.live import session as live_session
from omnikit.inference.live.audio_device import Clock
from omnikit.inference.scheduler import engine_pair
from omnikit.inference.session import Session

Script = Callable[..., None]


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return make_session(tmp_path_factory.mktemp("talk"))


@pytest.fixture
def script(session: Session, monkeypatch: pytest.MonkeyPatch) -> Script:
    """Let a run give these answers; time passes at once."""
    clock = FakeTime()
    monkeypatch.setattr(sessions, "load", lambda run, load_in=None: session)
    monkeypatch.setattr(live_session, "find_vad", lambda live: Amplitude())
    monkeypatch.setattr(audio_device, "Clock", lambda: Clock(clock.now, clock.sleep))

    def begin(*answers: ScriptedAnswer) -> None:
        monkeypatch.setattr(engine_pair, "live_engine", lambda session: ScriptedEngine(list(answers)))

    return begin


def test_a_recording_is_a_conversation_on_the_terminal(script: Script, tmp_path: Path,
                                                       capsys: pytest.CaptureFixture[str]) -> None:
    script(answering("one two three four five six", "audio"), noise(), answering("seven", "audio"))
    # a query, back-channel half a second into the answer, and a query that interrupts it
    parts = [speech(20), silence(32), speech(5), silence(30), speech(20), silence(10)]
    soundfile.write(tmp_path / "talk.wav", audio(*parts), 16000, subtype="FLOAT")
    out = tmp_path / "out.wav"
    assert main(["chat", "run", "--live", "--audio", str(tmp_path / "talk.wav"), "--out", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[2] for line in lines[:-1]] == [
        "ready", "listening", "thinking", "you", "answer", "listening", "paused", "thinking", "ignored", "resumed",
        "listening", "paused", "thinking", "stopped", "you", "answer"]
    assert lines[4].endswith("one two three four five six") and lines[15].endswith("seven")
    assert 'played: "one two' in lines[13] and "six" not in lines[13]
    assert lines[-1] == f"answers  {out}" and soundfile.read(out)[0].any()


class Pressed:
    """A device on which Ctrl-C is pressed in the middle of an answer."""

    sample_rate = 16000

    def __init__(self) -> None:
        self.pieces, self.closed, self.written = [audio(speech(20), silence(20))] + [audio(silence(1))] * 3, False, 0

    def read(self, *, wait: bool) -> NDArray[np.float32]:
        if not self.pieces:
            raise KeyboardInterrupt
        return self.pieces.pop(0)

    def write(self, waveform: NDArray[np.float32], sample_rate: int) -> None:
        self.written += len(waveform)

    def clear(self) -> None:
        raise AssertionError("nobody interrupts")

    def close(self) -> None:
        self.closed = True


def test_ctrl_c_ends_the_answer_and_closes_the_device(script: Script, monkeypatch: pytest.MonkeyPatch,
                                                          capsys: pytest.CaptureFixture[str]) -> None:
    first, device = answering("one " * 50, "audio"), Pressed()
    script(first)
    monkeypatch.setattr(system_audio, "sounddevice", lambda: None)
    monkeypatch.setattr(system_audio, "SystemAudio", lambda: device)
    assert main(["chat", "run", "--live"]) == 0
    assert device.closed and device.written and first.finish_reason == "cancelled"
    assert capsys.readouterr().out.endswith("answer    one one one one\n")


@pytest.mark.parametrize(("options", "message"), [
    (["--text", "hello"], "--live takes its questions from a microphone, or from --audio FILE, so --text has no effect"),
    (["--stream"], "so --stream has no effect"),
    (["--out", "a.wav"], "--out with --live is for a recording; add --audio FILE"),
], ids=["text", "stream", "out"])
def test_options_without_effect_are_refused(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chat", "run", "--live", *options]) != 0
    assert message in capsys.readouterr().err
