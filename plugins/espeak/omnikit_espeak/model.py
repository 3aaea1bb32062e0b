"""The synthesiser: text and voice to a waveform at the sample rate asked for. Independent of ctypes."""

from collections.abc import Iterator

import numpy as np
import soxr
from numpy.typing import NDArray

from omnikit.errors import ConfigError, nearest
from omnikit_espeak.library import facts, synthesize

SPEEDS = range(80, 451)  # words per minute; espeak-ng speak_lib.h: espeakRATE
PITCHES = range(0, 101)  # espeak-ng speak_lib.h: espeakPITCH


class EspeakTTS:
    """Speaks text. The same arguments give the same samples, whatever was said before."""

    def __init__(self, sample_rate: int = 16000, voice: str = "en-us") -> None:
        self.sample_rate = sample_rate
        self.voice = voice

    @property
    def version(self) -> str:
        """Names what makes the samples: library, its version, sample rate; part of a cache's key."""
        return f"espeak-ng {facts().version} at {self.sample_rate}"

    def voices(self) -> Iterator[str]:
        """Give every language's name; `variants()` may follow one after a plus sign."""
        yield from facts().voices

    def variants(self) -> Iterator[str]:
        """Give the name of every speaker."""
        yield from facts().variants

    def speak(self, text: str, voice: str | None = None, speed: int = 175, pitch: int = 50) -> tuple[NDArray[np.float32], int]:
        """Say `text`.

        Args:
            text: what to say.
            voice: language or language+variant, such as "en-us+f3"; None for the instance's own.
            speed: words per minute, 80 to 450.
            pitch: 0 (low) to 100 (high).

        Returns:
            Mono waveform [N] in [-1, 1], and its sample rate.

        Raises:
            ConfigError: the voice, its variant, the speed or the pitch does not exist.
        """
        voice = self.voice if voice is None else voice
        self._check(voice, speed, pitch)
        try:
            samples = synthesize(text, voice, speed, pitch)
        except LookupError:
            raise ConfigError(self._no_voice(voice)) from None
        waveform = samples.astype(np.float32) / np.float32(32768)
        if self.sample_rate != facts().sample_rate:
            waveform = soxr.resample(waveform, facts().sample_rate, self.sample_rate)
        return np.clip(waveform, -1, 1, dtype=np.float32), self.sample_rate

    def _check(self, voice: str, speed: int, pitch: int) -> None:
        variant = voice.partition("+")[2]
        if variant and variant not in facts().variants:
            raise ConfigError(
                f"voice {voice!r}: espeak-ng has no variant {variant!r}.{nearest(variant, self.variants())}"
                " Some that exist are f1 to f5 and m1 to m8."
            )
        if speed not in SPEEDS:
            raise ConfigError(f"speed is {speed}, but espeak-ng speaks {SPEEDS[0]} to {SPEEDS[-1]} words per minute.")
        if pitch not in PITCHES:
            raise ConfigError(f"pitch is {pitch}, but espeak-ng takes {PITCHES[0]} to {PITCHES[-1]}.")

    def _no_voice(self, voice: str) -> str:
        language = voice.partition("+")[0]
        some = "en, en-us, en-gb-x-rp, de, fr-fr, es, cmn"
        return f"espeak-ng has no voice {voice!r}.{nearest(language, self.voices())} Some that exist are {some}."
