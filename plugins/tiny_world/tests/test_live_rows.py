"""What a live session picks up: rows that nobody asks the model, and recordings as a session cuts turns."""

from pathlib import Path

import numpy as np
import pytest
from omnikit_tiny_world import side_talk
from omnikit_tiny_world.config import CUT_SECONDS, TinyWorld
from omnikit_tiny_world.cuts import AUDIBLE, PADDING, cut
from omnikit_tiny_world.row import ANSWER_VOICES, Row
from omnikit_tiny_world.script import rows
from omnikit_tiny_world.words import LANGUAGES

from omnikit.data.text.tokenizer import load
from omnikit.evaluation.duplex.scenario import read

RATE = 16000
KINDS = {"statement", "side_talk", "backchannel", "sound", "echo"}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMNIKIT_CACHE", str(folder))
        yield folder  # type: ignore[misc]  # a fixture


def written(view: str, split: str = "train", size: int = 400) -> list[Row]:
    return rows(TinyWorld(view=view, split=split, live=True), size)  # type: ignore[arg-type]  # a view and a split


def spoken(kind: str, found: list[Row]) -> set[str]:
    return {row.utterance.text for row in found if row.kind == kind and row.utterance}


def tone(seconds: float) -> np.ndarray:
    return np.sin(np.arange(int(seconds * RATE)) * 0.2).astype(np.float32) / 2


def test_all_live_noise_calls_for_no_answer_and_has_every_kind_in_both_languages() -> None:
    found = written("noise")
    assert {row.state for row in found} == {"noise"}
    assert {(row.kind, row.language) for row in found} == {(kind, language) for kind in KINDS for language in LANGUAGES}


def test_live_turns_ask_as_often_as_they_do_not() -> None:
    found = written("turns", "test", 800)
    unasked = sum(row.state == "noise" for row in found)
    assert unasked == 400 and {row.kind for row in found} > KINDS


def test_what_tests_hold_is_never_trained() -> None:
    for kind in ("side_talk", "backchannel"):
        trained = spoken(kind, written("noise", "train", 12000))
        tested = spoken(kind, [*written("noise", "test", 800), *written("turns", "test", 800)])
        assert len(tested) > 50 and not trained & tested


def test_no_talk_to_others_of_the_bench_is_trained() -> None:
    talk = {element.text for scenario in read() for element in scenario.track
              if element.kind in ("side_talk", "second_speaker")}
    assert talk and not talk & set(side_talk.side_talk("en", 0)[0])


def test_a_transcript_has_only_words_that_are_one_token_each() -> None:
    assert side_talk.transcript("anna is at home", "en") == "is at home"
    assert side_talk.transcript("嗯好的", "zh") == "好的"
    tokenizer = load("tiny_world")
    words = {word for row in written("noise", size=800) if row.kind in ("side_talk", "backchannel")
             for word in (row.question.split() if row.language == "en" else row.question)}
    assert len(words) > 50
    assert {word for word in words if len(tokenizer.ids(f"{' ' * word.isascii()}{word}")) != 1} == set()


def test_the_voice_of_the_answers_is_noise_and_no_question_has_it() -> None:
    found = [row for row in written("turns") if row.utterance]
    own = {row.kind for row in found if row.utterance and row.utterance.voice in ANSWER_VOICES.values()}
    assert own == {"echo"}


def test_without_live_and_cut_rows_are_the_earlier_ones() -> None:
    plain = rows(TinyWorld(view="speech", noisy=0.5), 60)
    cuts = rows(TinyWorld(view="speech", noisy=0.5, cut=0.5), 60)
    assert not any(row.cut for row in plain) and 15 < sum(row.cut for row in cuts) < 45
    assert [{**vars(row), "cut": False} for row in cuts] == [vars(row) for row in plain]


def test_a_cut_recording_is_its_speech_with_little_around() -> None:
    silence = np.zeros(RATE, np.float32)
    waveform = np.concatenate([silence, tone(1.0), silence])
    lengths = []
    for seed in range(60):
        found = cut(waveform, seed)
        assert found.dtype == np.float32 and np.isfinite(found).all() and np.abs(found).max() <= 1
        loud = np.flatnonzero(np.abs(found) > 0.5 * np.abs(found).max())
        assert 0.93 * RATE < loud[-1] - loud[0] + 1 < (1.01 + PADDING) * RATE
        lengths.append(len(found))
    assert min(lengths) > 0.94 * RATE and max(lengths) <= (1 + CUT_SECONDS) * RATE and len(set(lengths)) > 50


def test_a_cut_depends_on_its_seed_alone() -> None:
    np.testing.assert_array_equal(cut(tone(0.5), 3), cut(tone(0.5), 3))
    assert len(cut(tone(0.5), 3)) != len(cut(tone(0.5), 4))
    assert AUDIBLE < 0.1


def test_a_quiet_room_is_quiet_and_a_cough_fades() -> None:
    corpus = TinyWorld(view="noise", live=True, language="en", size=8 * 9).build()
    found = {sample.facts["sound"]: sample.messages[0].content[0].audio
              for sample in (corpus[index] for index in range(3, 8 * 9, 8))}
    assert {"cough", "quiet"} <= set(found)
    quiet, cough = found["quiet"], found["cough"]
    assert quiet is not None and cough is not None
    assert np.sqrt(np.mean(quiet**2)) < 0.003
    assert np.mean(cough[:RATE // 4] ** 2) > 4 * np.mean(cough[-RATE // 4:] ** 2)


@pytest.mark.parametrize(("settings", "message"), [
    ({"view": "speech", "live": True}, "live is true, but only noise and turns"),
    ({"view": "speech", "cut": 1.5}, "cut is 1.5, but a fraction"),
])
def test_impossible_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TinyWorld(**settings)  # type: ignore[arg-type]  # impossible on purpose
