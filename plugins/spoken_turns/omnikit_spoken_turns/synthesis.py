"""Text to speech in a voice that a seed draws, with background noise. Uses no row and no file."""

import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
import soxr

from omnikit.contracts.protocols import TTS
from omnikit.data.text.spoken_language import check_voices, spoken_language
from omnikit.errors import ConfigError, DataError, OmnikitError
from omnikit.registry import component
from omnikit_spoken_turns.config import BackgroundNoise, Voices
from omnikit_spoken_turns.noises import Waveform, babble, mix_at_snr, noise

CHARACTERS_PER_SECOND = 40  # faster than any speech: a longer text is not tried
TALKERS = 4  # voices of babble


class NotSynthesizedError(Exception):
    """A text that is not synthesized; the message is the reason, to be counted."""


@dataclass(frozen=True)
class Audio:
    """A waveform, and facts about it."""

    waveform: Waveform
    rate: int
    facts: dict[str, str] = field(default_factory=dict)


class Synthesizer:
    """Synthesizes in the options' voices; the same text and seed give the same samples.

    Raises:
        ConfigError: there is no such text-to-speech, or a voice of it does not exist.
    """

    def __init__(self, voices: Voices) -> None:
        self.voices = voices
        self.tts: TTS = component("tts", voices.tts)().build()
        low, high = zip(voices.speeds, voices.pitches, strict=True)
        try:  # an error is raised before the work
            check_voices(voices.english, "english", "english")
            check_voices(voices.mandarin, "mandarin", "mandarin")
            for voice in (*voices.english, *voices.mandarin):
                self.tts.speak("a", voice, *low)
            self.tts.speak("a", voices.english[0], *high)
        except OmnikitError as error:
            raise ConfigError(f"voices: {error}") from error

    def __call__(self, text: str, seed: str) -> Audio:
        """Synthesize a text; raises NotSynthesizedError where that fails, is silent or too long."""
        rng, options = random.Random(seed), self.voices
        words = " ".join(text.split())
        if not any(character.isalnum() for character in words):
            raise NotSynthesizedError("no word in it")
        if len(words) > CHARACTERS_PER_SECOND * options.seconds:
            raise NotSynthesizedError("sounds too long")
        if (language := spoken_language(words)) is None:
            raise NotSynthesizedError("no voice for its language")
        voice = rng.choice(options.mandarin if language == "mandarin" else options.english)
        speed, pitch = rng.randint(*options.speeds), rng.randint(*options.pitches)
        try:
            waveform, rate = self.tts.speak(words, voice, speed, pitch)
        except DataError:  # of this text alone; what is wrong with every text is another error
            raise NotSynthesizedError("cannot be spoken") from None
        if len(waveform) > options.seconds * rate:
            raise NotSynthesizedError("sounds too long")
        if not np.isfinite(waveform).all() or not np.any(waveform):
            raise NotSynthesizedError("silent")
        return Audio(waveform, rate, {"voice": voice, "speed": str(speed), "pitch": str(pitch)})


class Noises:
    """Noises of all kinds; babble is made of some texts in its synthesizer's voices."""

    def __init__(self, synthesizer: Synthesizer, texts: Sequence[str]) -> None:
        self.synthesizer, self.texts = synthesizer, texts

    def __call__(self, kind: str, samples: int, rate: int, seed: str) -> Waveform:
        """Give `samples` of a noise, its power 1."""
        generator = np.random.default_rng(list(seed.encode()))
        if kind != "babble":
            return noise(kind, samples, rate, generator)
        talkers: list[Waveform] = []
        for number in range(TALKERS * 4 if self.texts else 0):  # some texts may not be spoken
            with suppress(NotSynthesizedError):
                talk = random.Random(f"{seed} {number}").choice(self.texts)
                speech = self.synthesizer(talk, f"{seed} {number}")
                talkers.append(np.asarray(soxr.resample(speech.waveform, speech.rate, rate), dtype=np.float32))
            if len(talkers) == TALKERS:
                return babble(talkers, samples, generator)
        raise DataError("Noise of kind babble is made of speech, but the source has too few texts that can be spoken;"
                        " leave babble out of `kinds`.")

    def add(self, speech: Audio, options: BackgroundNoise, seed: str) -> Audio:
        """Add background noise to a fraction of the audio."""
        rng = random.Random(f"{seed} noise")
        chosen, kind, snr = rng.random() < options.fraction, rng.choice(options.kinds), rng.uniform(*options.snr_db)
        if not chosen:
            return speech
        other = self(kind, len(speech.waveform), speech.rate, f"{seed} {kind}")
        facts = {**speech.facts, "noise": kind, "noise_snr_db": f"{snr:.1f}"}
        return Audio(mix_at_snr(speech.waveform, other, round(snr, 1)), speech.rate, facts)
