"""The bench from end to end: a live session whose answers are scripted, a run with random weights, a server of it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from live_doubles import Amplitude, ScriptedAnswer, ScriptedEngine, answering, noise
from live_doubles import session as scripted_session
from servers import Running, running

import omnikit
from omnikit import cli
from omnikit.evaluation.duplex import bench
from omnikit.evaluation.duplex.local_peer import LocalPeer
from omnikit.evaluation.duplex.player import play
from omnikit.evaluation.duplex.results import ScenarioResult, scenario_result
from omnikit.evaluation.duplex.scenario import Element, Scenario
from omnikit.evaluation.duplex.user_audio import ElementAudio
from omnikit.inference.live.session import LiveSession
from omnikit.inference.session import Session
from omnikit.recipe.live import TurnPolicy
from omnikit.store.files import read_json

POLICY = TurnPolicy(min_speech_ms=64, min_silence_ms=320, prefix_padding_ms=64)
FRAME = 512
SMALL = ("question", "backchannel", "silence")


@pytest.fixture(scope="module")
def spoken() -> Session:
    return omnikit.build("llama_omni/tiny", device="cpu")


@pytest.fixture(scope="module")
def server(spoken: Session) -> Iterator[Running]:
    with running(spoken) as server:
        yield server


def element(kind: str, frames: int, during: float | None = None) -> ElementAudio:
    """Speech is 0.9 in each sample, which the scripted detection takes for its probability."""
    quiet = kind == "silence"
    made = Element(kind, "" if quiet else "words", 1.0 if quiet else 0.0, during_answer=during)
    return ElementAudio(made, np.full(FRAME * frames, 0.0 if quiet else 0.9, np.float32))


def scripted(folder: Path, second: str, *answers: ScriptedAnswer, policy: TurnPolicy = POLICY) -> ScenarioResult:
    """A query, and something during its answer of five words, 320 ms each."""
    engine = ScriptedEngine([answering("one two three four five", "audio"), *answers])
    live = LiveSession(scripted_session(folder), engine, policy, vad=Amplitude(), pace=1)
    track = [element("silence", 4), element("query", 20), element(second, 10, 0.5), element("silence", 60)]
    return scenario_result(play(Scenario("made", (Element("silence", seconds=1.0),)), track, LocalPeer(live)))


def test_an_interruption_stops_the_answer_and_is_answered(tmp_path: Path) -> None:
    query, interruption = scripted(tmp_path, "interruption", answering("six", "audio")).elements
    assert (query.answers, interruption.answers, interruption.stopped) == (1, 1, True)
    assert interruption.stop_ms is not None and interruption.stop_ms <= 128 and interruption.audio_after_stop_ms == 0


def test_the_history_of_an_interrupted_answer_is_what_was_played(tmp_path: Path) -> None:
    first, second = scripted(tmp_path, "interruption", answering("six", "audio")).answers
    assert (first.history, first.history_equal, second.history, second.history_equal) == ("one", True, "six", True)


def test_a_backchannel_only_holds_the_answer_back(tmp_path: Path) -> None:
    _, backchannel = scripted(tmp_path, "backchannel", noise()).elements
    assert (backchannel.answers, backchannel.stopped, backchannel.held_ms > 0) == (0, False, True)


def test_a_model_that_answers_a_backchannel_stops_falsely(tmp_path: Path) -> None:
    _, backchannel = scripted(tmp_path, "backchannel", answering("six", "audio")).elements
    assert backchannel.false_stop and backchannel.answers == 1


def test_an_answer_that_nothing_may_interrupt_is_a_missed_stop(tmp_path: Path) -> None:
    policy = TurnPolicy(min_speech_ms=64, min_silence_ms=320, prefix_padding_ms=64, interrupt="never")
    assert scripted(tmp_path, "interruption", policy=policy).elements[1].missed_stop


def test_a_run_gives_the_same_report_twice(spoken: Session, tmp_path: Path) -> None:
    for name in ("first", "second"):
        bench.run(bench.of_session(spoken, run="random", seed=3), bench.chosen(None, SMALL), tmp_path / name, seed=3)
    files = sorted(path.relative_to(tmp_path / "first") for path in (tmp_path / "first").rglob("*") if path.is_file())
    assert {"report.json", "report.html"} <= {str(path) for path in files}
    assert len(files) == 2 + 4 * len(SMALL) + 1  # wavs, words and transcripts of each, and turn_taking.json
    assert all((tmp_path / "first" / path).read_bytes() == (tmp_path / "second" / path).read_bytes() for path in files)


def test_two_models_that_swap_roles_give_the_same_report(spoken: Session, tmp_path: Path) -> None:
    scenarios = bench.chosen(None, ("interruption",))
    found = [bench.run(bench.of_session(spoken, run="random", policy=TurnPolicy(models=models)), scenarios, tmp_path / models)
             for models in ("one", "two")]
    assert [one["conditions"]["models"] for one in found] == ["one", "two"]
    assert found[0]["scenarios"] == found[1]["scenarios"]


def test_a_server_is_measured_over_its_socket(server: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = cli.main(["bench", "duplex", server.socket_url, "--only", "question", "--speed", "2", "--out", str(tmp_path)])
    found = read_json(tmp_path / "report.json", "")
    assert code == 0 and "questions answered              1 of 1" in capsys.readouterr().out
    assert found["summary"]["history_equals_played"] == {"count": 1, "of": 1} and found["summary"]["errors"] == 0
    assert (tmp_path / "smooth_turn_taking" / "question" / "output.wav").is_file()


@pytest.mark.parametrize(("arguments", "message"), [
    (["triplex", "tiny"], "'triplex' is not a bench"),
    (["duplex", "http://127.0.0.1:1/v1"], "begin it with ws://"),
    (["duplex", "ws://127.0.0.1:1/v1/realtime", "--pace", "2"], "--pace is of a run"),
    (["duplex", "tiny", "--speed", "2"], "--speed is of a server"),
    (["duplex", "tiny", "--only", "nothing"], "--only nothing is not a scenario"),
    (["duplex", "ws://127.0.0.1:1/v1/realtime", "--only", "silence"], "cannot be reached"),
])
def test_what_cannot_be_measured_is_one_sentence(arguments: list[str], message: str,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", *arguments]) == 2
    assert message in capsys.readouterr().err
