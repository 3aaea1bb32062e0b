"""espeak: what is said, its determinism, and the errors of voices that do not exist."""

import numpy as np
import pytest
from omnikit_espeak import library
from omnikit_espeak.config import Espeak
from omnikit_espeak.model import EspeakTTS

from omnikit.errors import ConfigError


@pytest.fixture(scope="module")
def tts() -> EspeakTTS:
    return Espeak().build()


def test_speech_is_audible_mono_float32_at_16_khz(tts: EspeakTTS) -> None:
    waveform, rate = tts.speak("three plus four is seven", "en-us")
    assert (rate, waveform.dtype.name, waveform.ndim) == (16000, "float32", 1)
    assert 1.0 < len(waveform) / rate < 3.0
    assert 0.1 < np.abs(waveform).max() <= 1.0


def test_same_words_give_the_same_samples_whatever_was_spoken_before(tts: EspeakTTS) -> None:
    first, _ = tts.speak("hello there", "en-us+f3", 160, 60)
    tts.speak("something else", "de+m2", 200, 30)
    again, _ = tts.speak("hello there", "en-us+f3", 160, 60)
    np.testing.assert_array_equal(first, again)


def test_voice_variant_speed_and_pitch_change_the_waveform(tts: EspeakTTS) -> None:
    waves = [
        tts.speak("seven", *arguments)[0].tobytes()
        for arguments in [("en", 175, 50), ("en+f3", 175, 50), ("en", 200, 50), ("en", 175, 70)]
    ]
    assert len(set(waves)) == 4


def test_sample_rate_changes_the_number_of_samples_and_not_the_duration(tts: EspeakTTS) -> None:
    low, _ = tts.speak("seven", "en")
    high, rate = Espeak(sample_rate=24000).build().speak("seven", "en")
    assert rate == 24000
    assert len(high) / 24000 == pytest.approx(len(low) / 16000, abs=1e-3)  # rounding of one sample


def test_unknown_voice_is_named_and_not_replaced_by_the_last_one(tts: EspeakTTS) -> None:
    tts.speak("hello", "de")
    with pytest.raises(ConfigError, match=r"no voice 'en-gb'.*Some that exist are en, en-us, en-gb-x-rp"):
        tts.speak("hello", "en-gb")


def test_unknown_variant_is_named_with_the_nearest(tts: EspeakTTS) -> None:
    with pytest.raises(ConfigError, match=r"no variant 'f33'.*Did you mean 'f3'.*f1 to f5"):
        tts.speak("hello", "en-us+f33")


@pytest.mark.parametrize(
    ("speed", "pitch", "message"),
    [(20, 50, "speed is 20, but espeak-ng speaks 80 to 450"), (175, 101, "pitch is 101, but espeak-ng takes 0 to 100")],
    ids=["speed", "pitch"],
)
def test_impossible_speed_or_pitch_is_an_error(tts: EspeakTTS, speed: int, pitch: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tts.speak("hello", "en", speed, pitch)


def test_voices_lists_names_that_speak(tts: EspeakTTS) -> None:
    names = list(tts.voices())
    assert {"en", "en-us", "en-gb-x-rp", "de"} <= set(names)
    assert len(names) > 100
    assert [name for name in names if not len(tts.speak("1", name)[0])] == []


def test_nothing_to_say_gives_an_empty_or_silent_waveform(tts: EspeakTTS) -> None:
    waveform, _ = tts.speak("", "en")
    assert np.abs(waveform).sum() == 0


def test_sample_rate_too_low_is_refused() -> None:
    with pytest.raises(ValueError, match="sample_rate is 100, but speech needs at least 8000"):
        Espeak(sample_rate=100)


@pytest.mark.parametrize("voice", ["en-us", "en+f5", "en-gb-x-rp", "de+m2", "cmn", "pt"])
def test_data_of_one_voice_gives_the_samples_of_all_data(voice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    own = library.synthesize("seven plus 12", voice, 175, 50)
    monkeypatch.setattr(library, "_data_of", lambda name: library._data())
    np.testing.assert_array_equal(library.synthesize("seven plus 12", voice, 175, 50), own)
