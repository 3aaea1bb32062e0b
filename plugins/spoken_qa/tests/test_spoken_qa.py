"""The reader: what a row holds, the cache, and its errors."""

from pathlib import Path

import numpy as np
import pytest
from omnikit_spoken_qa.config import SpokenQA

from omnikit.data.build import recordings
from omnikit.errors import DataError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OMNIKIT_CACHE", str(tmp_path))
    return tmp_path


def test_row_holds_spoken_question_text_and_spoken_answer() -> None:
    corpus = SpokenQA(split="test", size=6).build()
    question, answer = corpus[5].messages
    assert [(message.role, [part.type for part in message.content]) for message in corpus[5].messages] == [
        ("user", ["audio"]),
        ("assistant", ["text", "audio"]),
    ]
    wave = question.content[0].audio
    assert wave is not None and wave.dtype == np.float32 and 0.5 < len(wave) / 16000 < 5 and 0.1 < np.abs(wave).max() <= 1
    assert answer.content[0].text == answer.content[1].text
    assert corpus[5].facts["kind"] == "opposite"
    assert corpus[5].facts["split"] == "test"
    assert len(corpus) == 6


def test_text_view_asks_the_same_without_recording_anything(cache: Path) -> None:
    corpus = SpokenQA(view="text", size=12).build()
    part = corpus[3].messages[0].content[0]
    assert part.type == "text" and part.text
    assert list(cache.iterdir()) == []


def test_reading_view_has_audio_and_transcript_and_no_answer() -> None:
    sample = SpokenQA(view="reading", size=4).build()[0]
    assert [message.role for message in sample.messages] == ["user"]
    assert sample.messages[0].content[0].text


def test_second_use_reads_the_same_samples_from_the_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = SpokenQA(size=6).build()[0].messages[0].content[0].audio
    monkeypatch.setattr(recordings, "_make", None)
    again = SpokenQA(size=6).build()[0].messages[0].content[0].audio
    assert first is not None and again is not None
    np.testing.assert_array_equal(first, again)
    files = {path.name for path in (cache / "spoken_qa").glob("*/*/*")}
    assert files == {"bounds.npy", "checksums.json", "names.json", "samples.npy"}


def test_recording_is_the_voices_output(cache: Path) -> None:
    from omnikit_espeak.config import Espeak

    corpus = SpokenQA(size=2).build()
    row = corpus._rows[1].question_utterance
    expected, _ = Espeak().build().speak(row.text, row.voice, row.speed, row.pitch)
    found = corpus[1].messages[0].content[0].audio
    assert found is not None
    np.testing.assert_allclose(found, expected, atol=1 / 32767)  # stored as 16-bit integers


def test_interrupted_recording_leaves_nothing_behind(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "save", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(DataError, match="No space left on device; free some space there or set OMNIKIT_CACHE"):
        SpokenQA(size=2).build()
    assert list((cache / "spoken_qa").glob("*/*")) == []


def test_cache_folder_that_is_a_file_is_one_sentence(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cache / "file").write_text("")
    monkeypatch.setenv("OMNIKIT_CACHE", str(cache / "file"))
    with pytest.raises(DataError, match=r"cannot be recorded in .*file.*Not a directory"):
        SpokenQA(size=2).build()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"split": "dev"}, "split is 'dev', but spoken_qa has train, test, test_unseen"),
        ({"view": "video"}, "view is 'video', but spoken_qa has speech, text, reading"),
        ({"size": -1}, r"size is -1, but a corpus has at least one row \(0 means 9600\)"),
    ],
    ids=["split", "view", "size"],
)
def test_impossible_settings_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SpokenQA(**fields)  # type: ignore[arg-type]  # words at run time


@pytest.mark.parametrize(
    ("view", "provides", "seconds"),
    [
        ("speech", {"audio", "transcript", "answer", "speech"}, 4.0),
        ("text", {"text", "answer"}, None),
        ("reading", {"audio", "transcript"}, 4.0),
    ],
)
def test_contract_follows_the_view(view: str, provides: set[str], seconds: float | None) -> None:
    config = SpokenQA(view=view)  # type: ignore[arg-type]  # words at run time
    assert set(config.provides) == provides
    assert config.seconds == seconds
