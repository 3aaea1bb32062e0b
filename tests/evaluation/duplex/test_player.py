"""A client that plays, stops and resumes: against a model's side whose events are scripted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from omnikit.evaluation.duplex.conversation import PeerEvent, PlayedSegment, Samples
from omnikit.evaluation.duplex.playback import Playback
from omnikit.evaluation.duplex.player import play
from omnikit.evaluation.duplex.scenario import Element, Scenario
from omnikit.evaluation.duplex.user_audio import ElementAudio
from omnikit.inference.text_alignment import Mark

FRAME = 512


@dataclass
class ScriptedPeer:
    """Gives its events at frames of the user's audio."""

    script: Mapping[int, Sequence[PeerEvent]]
    rate: int = 16000
    frames: list[Samples] = field(default_factory=list)
    truncated: list[tuple[str, int]] = field(default_factory=list)

    def push(self, frame: Samples) -> list[PeerEvent]:
        self.frames.append(frame)
        return list(self.script.get(len(self.frames), ()))

    def stopped(self, item: str, played_ms: int) -> None:
        self.truncated.append((item, played_ms))

    def history(self, items: Sequence[str]) -> Mapping[str, str]:
        return {}

    def marks(self, items: Sequence[str]) -> Mapping[str, Sequence[Mark]]:
        return {}

    def close(self) -> None:
        pass


def audio(frames: int, start: int | None = None, value: float = 0.5) -> PeerEvent:
    return PeerEvent(0, "audio", "a", audio=np.full(FRAME * frames, value, np.float32), rate=16000, start=start)


def started() -> PeerEvent:
    return PeerEvent(0, "answer_started", "a")


def done() -> PeerEvent:
    return PeerEvent(0, "answer_done", "a", "stop")


def silence(frames: int) -> ElementAudio:
    return ElementAudio(Element("silence", seconds=1.0), np.zeros(FRAME * frames, np.float32))


def speech(frames: int, during: float | None = None) -> ElementAudio:
    return ElementAudio(Element("interruption", "words", during_answer=during), np.full(FRAME * frames, 0.1, np.float32))


SCENARIO = Scenario("made", (Element("silence", seconds=1.0),))


def test_audio_plays_in_real_time_from_the_next_frame_on() -> None:
    found = play(SCENARIO, [silence(10)], ScriptedPeer({2: [started(), audio(3), done()]}))
    assert found.segments == [PlayedSegment("a", 0, 64.0, 160.0)]


def test_what_a_stop_takes_away_is_never_played() -> None:
    peer = ScriptedPeer({2: [started(), audio(6)], 4: [PeerEvent(0, "interrupted", "a"), done()]})
    found = play(SCENARIO, [silence(10)], peer)
    assert found.segments == [PlayedSegment("a", 0, 64.0, 128.0)] and found.stops == [(128, "a")]


def test_the_model_is_given_what_was_played_at_a_stop() -> None:
    peer = ScriptedPeer({2: [started(), audio(6)], 4: [PeerEvent(0, "interrupted"), done()]})
    play(SCENARIO, [silence(10)], peer)
    assert peer.truncated == [("a", 64)]


def test_audio_of_a_stopped_answer_is_not_played() -> None:
    found = play(SCENARIO, [silence(12)], ScriptedPeer({2: [started(), audio(6)], 4: [PeerEvent(0, "interrupted", "a")],
                                                        6: [audio(2), done()]}))
    assert len(found.segments) == 1


def test_a_resumed_answer_goes_on_where_it_stopped() -> None:
    peer = ScriptedPeer({2: [started(), audio(4), done()], 4: [PeerEvent(0, "paused", "a")],
                         8: [PeerEvent(0, "resumed", "a"), audio(2, start=2 * FRAME)]})
    found = play(SCENARIO, [silence(12)], peer)
    assert [(one.first, one.start) for one in found.segments] == [(0, 64.0), (2 * FRAME, 256.0)] and not found.stops


def test_an_interruption_waits_until_so_much_was_played() -> None:
    found = play(SCENARIO, [silence(1), speech(2, during=0.096)], ScriptedPeer({5: [started(), audio(20), done()]}))
    assert [(one.start, one.over) for one in found.spans] == [(0.0, ""), (256.0, "a")]


def test_an_interruption_of_nothing_begins_after_a_while() -> None:
    (_, found) = play(SCENARIO, [silence(1), speech(2, during=0.096)], ScriptedPeer({})).spans
    assert (found.start, found.over) == (8032.0, "")


def test_an_answer_is_played_to_its_end_behind_the_track() -> None:
    found = play(SCENARIO, [silence(3)], ScriptedPeer({2: [started(), audio(40), done()]}))
    assert found.played_samples("a") == 40 * FRAME


def test_echo_comes_back_80_ms_later() -> None:
    peer = ScriptedPeer({1: [started(), audio(1, value=0.5), done()]})
    play(Scenario("made", SCENARIO.track, echo=-20.0), [silence(8)], peer)
    user = np.concatenate(peer.frames)
    assert np.flatnonzero(user)[0] == FRAME + 1280 and user[FRAME + 1280 + 100] == pytest.approx(0.05)


@pytest.mark.parametrize("rate", [16000, 22050, 24000])
def test_output_has_the_length_of_the_input(rate: int) -> None:
    playback = Playback()
    playback.give(PeerEvent(0, "audio", "a", audio=np.ones(rate // 2, np.float32), rate=rate))
    played = [playback.play() for _ in range(25)]
    assert len(playback.waveform()) == sum(map(len, played)) == rate * 800 // 1000
    assert playback.waveform().sum() == rate // 2 and playback.played_ms("a") == 500
