"""Scenarios are data: what is wrong in a file is named with its place; audio follows from text and seed."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from omnikit.errors import ConfigError
from omnikit.evaluation.duplex.scenario import Element, Scenario, read
from omnikit.evaluation.duplex.user_audio import room_noise, scenario_audio


class ToneTTS:
    """Speaks a tone of 0.1 s for each word, between silences of 0.2 s."""

    version = "tone"

    def speak(self, text: str, voice: str, speed: int, pitch: int) -> tuple[np.ndarray, int]:  # type: ignore[type-arg]
        if voice == "nobody":
            raise LookupError(voice)
        tone = np.full(1600 * len(text.split()), 0.5, np.float32)
        return np.concatenate([np.zeros(3200, np.float32), tone, np.zeros(3200, np.float32)]), 16000

    def voices(self) -> Iterator[str]:
        yield "tone"


def test_the_packages_scenarios_cover_what_a_conversation_brings() -> None:
    kinds = {element.kind for scenario in read() for element in scenario.track}
    assert kinds == {"query", "fragment", "pause", "interruption", "backchannel", "statement", "side_talk", "second_speaker",
                     "cough", "keyboard", "noise", "silence"}
    assert any(scenario.echo is not None for scenario in read())


@pytest.mark.parametrize(("text", "message"), [
    ("- a", "no list of scenarios"),
    ("scenarios: [{id: a}]", r"scenarios\[0\].track is None"),
    ("scenarios: [{id: a, track: []}]", r"scenarios\[0\]: track is empty"),
    ("scenarios: [{id: a/b, track: [{kind: silence, seconds: 1}]}]", "id is 'a/b'"),
    ("scenarios: [{id: a, track: [{kind: query}]}]", r"track\[0\]: text is '', but query needs one"),
    ("scenarios: [{id: a, track: [{kind: song, text: la}]}]", "kind is 'song'"),
    ("scenarios: [{id: a, track: [{kind: silence, second: 1}]}]", r"track\[0\].second is unknown"),
    ("scenarios: [{id: a, track: [{kind: silence, seconds: x}]}]", r"track\[0\]: "),
    ("scenarios: [{id: a, task: sing, track: [{kind: silence, seconds: 1}]}]", "task is 'sing'"),
    ("scenarios: [{id: a, track: [{kind: cough, with_previous: true}]}]", "none before it"),
    ("scenarios: [{id: a, track: [{kind: cough}]}, {id: a, track: [{kind: cough}]}]", "two scenarios with the id a"),
    ("scenarios: [", "cannot be read as scenarios"),
    ("scenarios: [{id: a, vary: [b], track: []}]", r"scenarios\[0\].vary is \['b'\], but must be a mapping"),
    ("scenarios: [{id: a, vary: {b: [c]}, track: [{kind: query, text: '{d}!'}]}]", "has a name in braces that vary lacks"),
    ("scenarios: [{id: a, group: b, track: [{kind: cough}], other: 1}]", r"scenarios\[0\].other is unknown"),
])
def test_what_is_wrong_in_a_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read(tmp_path / "s.yaml")


def test_there_are_twenty_and_more_of_what_is_counted() -> None:
    elements = [element for scenario in read() for element in scenario.track]
    counts = Counter(element.kind for element in elements)
    assert min(counts[kind] for kind in ("query", "statement", "side_talk", "backchannel", "interruption", "cough", "keyboard",
                                         "noise")) >= 20
    assert sum(scenario.silent for scenario in read()) >= 20
    assert [scenario.id for scenario in read(variants=1)] == list(dict.fromkeys(
        f"{scenario.group}-01" if scenario.group else scenario.id for scenario in read()))


def test_variants_take_turns_with_the_shorter_lists(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(
        "scenarios: [{id: a, room: '{room}', vary: {text: [one, two, three], room: [-60, -50]},"
        " track: [{kind: query, text: 'say {text}'}]}]")
    found = read(tmp_path / "s.yaml")
    assert [(one.id, one.group, one.room, one.track[0].text) for one in found] == [
        ("a-01", "a", -60, "say one"), ("a-02", "a", -50, "say two"), ("a-03", "a", -60, "say three")]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.yaml cannot be read"):
        read(tmp_path / "missing.yaml")


def scenario(*track: Element) -> Scenario:
    return Scenario("made", track, voice="tone")


def test_speech_ends_where_its_audio_ends() -> None:
    (found,) = scenario_audio(scenario(Element("query", "two words")), ToneTTS(), 16000, 0)
    assert len(found.waveform) == 3200 and np.abs(found.waveform[[0, -1]]).min() > 0


def test_level_is_that_of_the_root_mean_square() -> None:
    (found,) = scenario_audio(scenario(Element("noise", seconds=1.0, level=-30.0)), ToneTTS(), 16000, 0)
    assert 20 * np.log10(np.sqrt(np.mean(found.waveform**2))) == pytest.approx(-30.0, abs=0.01)


def test_what_comes_together_is_mixed() -> None:
    (found,) = scenario_audio(scenario(Element("query", "two words"), Element("second_speaker", "one", with_previous=True)),
                              ToneTTS(), 16000, 0)
    assert [(element.kind, length) for element, length in found.mixed] == [("second_speaker", 1600)]
    assert found.waveform[0] == pytest.approx(2 * found.waveform[-1])


@pytest.mark.parametrize("kind", ["cough", "keyboard", "noise"])
def test_noises_follow_from_the_seed(kind: str) -> None:
    made = [scenario_audio(scenario(Element(kind, seconds=0.5)), ToneTTS(), 16000, seed)[0].waveform for seed in (1, 1, 2)]
    assert np.array_equal(made[0], made[1]) and not np.array_equal(made[0], made[2])


def test_the_noise_of_a_room_has_its_level_and_differs_between_scenarios() -> None:
    rooms = [Scenario(name, (Element("silence", seconds=1.0),), room=-50.0) for name in ("a", "b")]
    first, again, other = (room_noise(one, 16000, 0) for one in (rooms[0], rooms[0], rooms[1]))
    assert first is not None and again is not None and other is not None
    assert 20 * np.log10(np.sqrt(np.mean(first**2))) == pytest.approx(-50.0, abs=0.01)
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert room_noise(scenario(Element("silence", seconds=1.0)), 16000, 0) is None


def test_an_unknown_voice_is_named() -> None:
    with pytest.raises(ConfigError, match="cannot be spoken by voice 'nobody'"):
        scenario_audio(scenario(Element("query", "word", voice="nobody")), ToneTTS(), 16000, 0)
