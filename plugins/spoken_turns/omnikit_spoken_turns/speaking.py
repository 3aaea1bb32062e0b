"""A text becomes a wave by a voice that its seed draws, with noise under it. Knows no row and no file."""

import random
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
import soxr

from omnikit.contracts.protocols import TTS
from omnikit.errors import ConfigError, DataError, OmnikitError
from omnikit.registry import component
from omnikit_spoken_turns.config import Under, Voices
from omnikit_spoken_turns.noises import Wave, added, babble, noise

HAN = re.compile("[\u3400-\u9fff]")
CHARACTERS_PER_SECOND = 40  # more than anybody says: a longer text is not tried
TALKERS = 4  # voices of babble


class UnspokenError(Exception):
    """A text that is not spoken; the sentence is the reason, to be counted."""


@dataclass(frozen=True)
class Sound:
    """What is heard, and words about it."""

    wave: Wave
    rate: int
    facts: dict[str, str] = field(default_factory=dict)


class Speaker:
    """Speaks by the options' voices; the same text and seed give the same samples.

    Raises:
        ConfigError: there is no such text-to-speech, or a voice of it does not exist.
    """

    def __init__(self, voices: Voices) -> None:
        self.voices = voices
        self.tts: TTS = component("tts", voices.tts)().build()
        low, high = zip(voices.speeds, voices.pitches, strict=True)
        try:  # a mistake is told before the work
            for voice in (*voices.english, *voices.mandarin):
                self.tts.speak("a", voice, *low)
            self.tts.speak("a", voices.english[0], *high)
        except OmnikitError as error:
            raise ConfigError(f"voices: {error}") from error

    def __call__(self, text: str, seed: str) -> Sound:
        """Say a text; raises UnspokenError where it cannot be said, is silent or sounds too long."""
        chance, options = random.Random(seed), self.voices
        said = " ".join(text.split())
        if not any(character.isalnum() for character in said):
            raise UnspokenError("no word in it")
        if len(said) > CHARACTERS_PER_SECOND * options.seconds:
            raise UnspokenError("sounds too long")
        voice = chance.choice(options.mandarin if HAN.search(said) else options.english)
        speed, pitch = chance.randint(*options.speeds), chance.randint(*options.pitches)
        try:
            wave, rate = self.tts.speak(said, voice, speed, pitch)
        except DataError:  # of this text alone; what is wrong with every text is another error
            raise UnspokenError("cannot be spoken") from None
        if len(wave) > options.seconds * rate:
            raise UnspokenError("sounds too long")
        if not np.isfinite(wave).all() or not np.any(wave):
            raise UnspokenError("silent")
        return Sound(wave, rate, {"voice": voice, "speed": str(speed), "pitch": str(pitch)})


class Noises:
    """Noises of all kinds; babble is made of what its speaker says of some texts."""

    def __init__(self, speaker: Speaker, texts: Sequence[str]) -> None:
        self.speaker, self.texts = speaker, texts

    def __call__(self, kind: str, samples: int, rate: int, seed: str) -> Wave:
        """Give `samples` of a noise, its power 1."""
        generator = np.random.default_rng(list(seed.encode()))
        if kind != "babble":
            return noise(kind, samples, rate, generator)
        talkers: list[Wave] = []
        for number in range(TALKERS * 4 if self.texts else 0):  # some texts may not be spoken
            with suppress(UnspokenError):
                said = random.Random(f"{seed} {number}").choice(self.texts)
                sound = self.speaker(said, f"{seed} {number}")
                talkers.append(np.asarray(soxr.resample(sound.wave, sound.rate, rate), dtype=np.float32))
            if len(talkers) == TALKERS:
                return babble(talkers, samples, generator)
        raise DataError("Noise of kind babble is made of what voices say, but the source has too few texts that can be spoken;"
                        " leave babble out of `kinds`.")

    def under(self, sound: Sound, options: Under, seed: str) -> Sound:
        """Lay noise under a share of the sounds."""
        chance = random.Random(f"{seed} noise")
        chosen, kind, snr = chance.random() < options.share, chance.choice(options.kinds), chance.uniform(*options.snr_db)
        if not chosen:
            return sound
        other = self(kind, len(sound.wave), sound.rate, f"{seed} {kind}")
        facts = {**sound.facts, "noise": kind, "noise_snr_db": f"{snr:.1f}"}
        return Sound(added(sound.wave, other, round(snr, 1)), sound.rate, facts)
