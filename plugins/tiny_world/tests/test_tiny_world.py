"""The reader: what a row holds, the cache that views share, noises, examples on disk, and its errors."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from omnikit_tiny_world import sounds
from omnikit_tiny_world.config import VIEWS, TinyWorld
from omnikit_tiny_world.model import TinyCorpus
from omnikit_tiny_world.row import ANSWER_VOICES, TRAINING_VOICES, UNSEEN_VOICES

from omnikit.contracts.types import ContentPart, Sample
from omnikit.data.build import recordings
from omnikit.data.build.recordings import Recordings
from omnikit.errors import DataError


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Record what these tests need once."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMNIKIT_CACHE", str(folder))
        yield folder  # type: ignore[misc]  # a fixture


def built(view: str, size: int = 6, **settings: object) -> TinyCorpus:
    return TinyWorld(view=view, size=size, **settings).build()  # type: ignore[arg-type]  # any of its fields


def asked(sample: Sample) -> list[str]:
    return [part.type for part in sample.messages[0].content]


def audio(corpus: TinyCorpus, index: int) -> np.ndarray:
    waveform = corpus[index].messages[0].content[-1].audio
    assert waveform is not None and waveform.dtype == np.float32 and np.isfinite(waveform).all() and np.abs(waveform).max() <= 1
    return waveform


@pytest.mark.parametrize(
    ("view", "types"),
    [
        ("captions", ["image", "text"]), ("video_captions", ["video", "text"]), ("images", ["image", "text"]),
        ("videos", ["video", "text"]), ("text", ["text"]), ("spoken_images", ["image", "audio"]),
        ("spoken_videos", ["video", "audio"]), ("spoken_captions", ["image", "audio"]), ("speech", ["audio"]),
        ("reading", ["audio"]),
        ("transcribe", ["prompt", "audio"]), ("dictation", ["text", "audio"]), ("noise", ["audio"]), ("turns", ["audio"]),
    ],
)  # fmt: skip
def test_a_row_holds_what_its_view_provides(view: str, types: list[str]) -> None:
    sample = built(view)[0]
    assert asked(sample) == types
    assert ("answer" in VIEWS[view]) == (len(sample.messages) == 2)
    assert {"image", "video", "audio", "text"} & set(VIEWS[view]) >= set(types) - {"prompt"}
    assert {"kind", "language", "split", "state"} <= set(sample.facts)
    assert ("voice" in sample.facts) == ("audio" in types)


def test_an_answer_follows_from_the_facts() -> None:
    for sample in (built("images", 40, language="en")[index] for index in range(40)):
        answer, facts = sample.messages[1].content[0].text, sample.facts
        if facts["kind"] == "count":
            assert answer == {"1": "one", "2": "two", "3": "three", "4": "four"}[facts["count"]]
        else:
            assert answer == facts["position" if facts["kind"] == "where" else facts["kind"]]


def test_views_share_their_recordings(monkeypatch: pytest.MonkeyPatch) -> None:
    built("reading", 8)
    monkeypatch.setattr(recordings, "_make", None)
    corpus, again = built("transcribe", 8), built("reading", 4)
    np.testing.assert_array_equal(audio(corpus, 2), audio(again, 2))


def test_a_shard_adds_only_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNIKIT_CACHE", str(tmp_path))
    made: list[int] = []
    make = recordings._make
    monkeypatch.setattr(recordings, "_make", lambda store, texts, *rest: (made.append(len(texts)), make(store, texts, *rest)))
    first = audio(built("speech", 3), 1)
    np.testing.assert_array_equal(first, audio(built("speech", 5), 1))
    assert made == [3, 2]
    files = {path.name for path in tmp_path.glob("tiny_world/*/*/*")}
    assert files == {"bounds.npy", "checksums.json", "names.json", "samples.npy"}


def test_a_recording_is_the_voices_output_in_both_languages() -> None:
    from omnikit_espeak.config import Espeak

    corpus = built("speech", 4)
    for index in (0, 1):
        utterance = corpus._rows[index].utterance
        assert utterance is not None and utterance.voice in TRAINING_VOICES[corpus._rows[index].language]
        expected, _ = Espeak().build().speak(utterance.text, utterance.voice, utterance.speed, utterance.pitch)
        np.testing.assert_allclose(audio(corpus, index), expected, atol=1 / 32767)  # stored as 16-bit integers


def test_every_voice_exists() -> None:
    from omnikit_espeak.library import facts

    for voice in (*TRAINING_VOICES["en"], *TRAINING_VOICES["zh"], *UNSEEN_VOICES.values(), *ANSWER_VOICES.values()):
        language, _, variant = voice.partition("+")
        assert language in facts().voices and (not variant or variant in facts().variants), voice


def test_a_spoken_answer_has_one_voice_whatever_the_question_has() -> None:
    from omnikit_espeak.config import Espeak

    spoken = {}
    for view in ("text", "speech"):
        corpus = built(view, 40, spoken_answers=True)
        assert "speech" in corpus.config.provides
        for index in range(40):
            sample = corpus[index]
            text, part = sample.messages[1].content
            assert part.text == text.text and part.audio is not None
            np.testing.assert_array_equal(part.audio, spoken.setdefault(text.text, part.audio))
    waveform, _ = Espeak().build().speak("eight", ANSWER_VOICES["en"], 160, 50)
    np.testing.assert_allclose(spoken["eight"], waveform, atol=1 / 32767)


def test_a_reading_with_spoken_answers_is_in_the_voice_of_the_answers_and_may_be_a_single_word() -> None:
    from omnikit_espeak.config import Espeak

    corpus = built("reading", 80, spoken_answers=True)
    assert "speech" not in corpus.config.provides
    samples = [corpus[index] for index in range(0, 80, 2)]  # English
    assert any(" " not in (sample.messages[0].content[0].text or "") for sample in samples)
    part = samples[0].messages[0].content[0]
    waveform, _ = Espeak().build().speak(part.text or "", ANSWER_VOICES["en"], 160, 50)
    np.testing.assert_allclose(part.audio, waveform, atol=1 / 32767)


def test_a_reader_is_pickled_without_its_samples() -> None:
    corpus = built("speech", 4)
    expected = audio(corpus, 1)
    packed = pickle.dumps(corpus)
    assert len(packed) < 20_000
    np.testing.assert_array_equal(audio(pickle.loads(packed), 1), expected)


def test_same_settings_same_bytes_and_unseen_has_the_same_images() -> None:
    first, second, unseen = (built("spoken_images", 4, split=split) for split in ("test", "test", "test_unseen"))
    for index in range(4):
        pixels = [corpus[index].messages[0].content[0].pixels for corpus in (first, second, unseen)]
        assert pixels[0].tobytes() == pixels[1].tobytes() == pixels[2].tobytes()  # type: ignore[union-attr]  # images
        assert audio(first, index).tobytes() == audio(second, index).tobytes() != audio(unseen, index).tobytes()


def test_noise_answers_bear_their_state_and_noises_differ() -> None:
    corpus = built("noise", 42, language="en")
    samples = [corpus[index] for index in range(42)]
    assert {sample.messages[1].state for sample in samples} == {"noise"}
    parts = {sample.facts["sound"]: sample.messages[0].content[0] for sample in samples if sample.facts["kind"] == "sound"}
    assert set(parts) == set(sounds.NOISES)
    for part in parts.values():
        assert part.text == "" and part.audio is not None
        assert 0.01 < np.sqrt(np.mean(part.audio**2)) < 0.2 and 1 <= len(part.audio) / 16000 <= 2.5


def test_noises_have_their_spectrum() -> None:
    def slope(kind: str) -> float:
        power = np.abs(np.fft.rfft(sounds.noise(kind, 32000, 1))) ** 2
        low, high = power[400:800].mean(), power[6400:12800].mean()  # 200-400 Hz and 3.2-6.4 kHz: four octaves
        return float(10 * np.log10(low / high) / 4)

    assert abs(slope("white")) < 0.5
    assert abs(slope("pink") - 3) < 0.5  # decibels an octave
    assert abs(slope("brown") - 6) < 0.5


@pytest.mark.parametrize("decibels", [0.0, 10.0])
def test_noise_is_mixed_at_the_ratio_that_is_asked_for(decibels: float) -> None:
    speech = np.sin(np.arange(8000) / 10).astype(np.float32) * np.float32(0.2)
    noise = sounds.mix(speech, sounds.noise("white", 8000, 2), decibels) - speech
    assert 10 * np.log10(np.mean(speech**2) / np.mean(noise**2)) == pytest.approx(decibels, abs=0.05)


def test_noisy_questions_are_marked_and_are_the_clean_ones_with_noise() -> None:
    clean, noisy = built("speech", 6), built("speech", 6, noisy=1.0)
    for index in range(6):
        assert (clean[index].facts["condition"], noisy[index].facts["condition"]) == ("clean", "noisy")
        quiet, loud = audio(clean, index), audio(noisy, index)
        assert len(quiet) == len(loud) and 0.6 < np.corrcoef(quiet, loud)[0, 1] < 1


def test_an_example_can_be_saved(tmp_path: Path) -> None:
    from omnikit.data.media.audio import load_audio
    from omnikit.data.media.image import load_image
    from omnikit.data.media.video import open_video

    image = built("spoken_images").save_example(0, tmp_path / "one").messages[0].content
    np.testing.assert_array_equal(load_image(tmp_path / "one" / "p.png"), image[0].pixels)
    np.testing.assert_allclose(load_audio(tmp_path / "one" / "q.wav", 16000), image[1].audio, atol=1e-4)
    video: ContentPart = built("videos").save_example(0, tmp_path / "two").messages[0].content[0]
    assert {path.name for path in (tmp_path / "two").iterdir()} == {"v.mp4"}
    assert video.pixels is not None and open_video(tmp_path / "two" / "v.mp4").frames == len(video.pixels)


def test_interrupted_recording_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNIKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(np, "save", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(DataError, match="No space left on device; free some space there or set OMNIKIT_CACHE"):
        built("speech", 2)
    assert list(tmp_path.glob("tiny_world/*/*")) == []


def test_cache_folder_that_is_a_file_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("OMNIKIT_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"cannot be recorded in .*file.*Not a directory"):
        built("speech", 2)


def test_a_recording_that_is_too_long_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Recordings, "longest", lambda _: 4.25)
    with pytest.raises(DataError, match=r"a recording of espeak takes 4\.2 s, but the corpus allows 4 s"):
        built("speech", 2)


def test_images_and_videos_need_no_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNIKIT_CACHE", str(tmp_path))
    for view in ("captions", "video_captions", "images", "videos", "text"):
        assert built(view)[1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"split": "dev"}, "split is 'dev', but tiny_world has train, test, test_unseen"),
        ({"view": "video"}, "view is 'video', but tiny_world has captions, video_captions, images"),
        ({"language": "de"}, "language is 'de', but tiny_world has en, zh, both"),
        ({"size": -1}, r"size is -1, but a corpus has at least one row \(0 means its default\)"),
        ({"noisy": 2.0}, r"noisy is 2\.0, but a fraction lies between 0 and 1"),
        ({"spoken": 0.5}, r"spoken is 0\.5, but only spoken_captions, spoken_images, spoken_videos, speech, dictation may be"
                          " written instead"),
        ({"view": "text", "described": 0.5}, r"described is 0\.5, but only captions, video_captions, images, videos may be"
                                             " described instead"),
        ({"stretched": -0.1}, r"stretched is -0\.1, but a fraction lies between 0 and 1"),
    ],
    ids=["split", "view", "language", "size", "noisy", "spoken", "described", "stretched"],
)
def test_impossible_settings_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TinyWorld(**fields)  # type: ignore[arg-type]  # words at run time


@pytest.mark.parametrize(
    ("fields", "provides", "seconds"),
    [
        ({"view": "videos"}, {"video", "text", "answer"}, None),
        ({"view": "speech"}, {"audio", "transcript", "answer"}, 4.0),
        ({"view": "speech", "spoken": 0.5}, {"audio", "transcript", "answer", "text"}, 4.0),
        ({"view": "spoken_videos", "spoken": 0.0}, {"video", "answer", "text"}, None),
    ],
)
def test_contract_follows_view_and_fraction(fields: dict[str, object], provides: set[str], seconds: float | None) -> None:
    config = TinyWorld(**fields)  # type: ignore[arg-type]  # words at run time
    assert set(config.provides) == provides
    assert config.seconds == seconds
