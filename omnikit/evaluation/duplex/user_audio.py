"""The audio of a scenario's elements: speech by the installed text-to-speech, coughs, typing and noise by formula."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import soxr
from numpy.typing import NDArray

from omnikit.contracts.protocols import TTS
from omnikit.errors import ConfigError, OmnikitError, RegistryError
from omnikit.evaluation.duplex.scenario import COUGH_SECONDS, QUIET, SPOKEN, Element, Scenario
from omnikit.registry import component, components

Samples = NDArray[np.float32]
SPEED, PITCH = 160, 50  # words a minute and pitch of the text-to-speech
AUDIBLE = 0.02  # of the peak: where speech begins and ends
ROOM_SECONDS = 7  # of a room's noise, which is repeated
STROKES = 7  # of a keyboard in a second


@dataclass(frozen=True)
class ElementAudio:
    """An element [N], and what is mixed into it."""

    element: Element
    waveform: Samples
    mixed: tuple[tuple[Element, int], ...] = ()  # with their lengths in samples


def find_tts() -> TTS:
    """Give the text-to-speech that is installed, by name the first; raises RegistryError where there is none."""
    names = list(components("tts"))
    if not names:
        raise RegistryError("No text-to-speech is installed, which speaks the scenarios; install omnikit[espeak].")
    made: TTS = component("tts", names[0])().build()
    return made


def scenario_audio(scenario: Scenario, tts: TTS, rate: int, seed: int) -> list[ElementAudio]:
    """Give the audio of each element at a sample rate; raises ConfigError where the text-to-speech has no such voice."""
    found: list[ElementAudio] = []
    for number, element in enumerate(scenario.track):
        generator = np.random.default_rng([seed, zlib.crc32(scenario.id.encode()), number])
        waveform = _waveform(element, element.voice or scenario.voice, tts, rate, generator)
        if element.with_previous:
            before = found.pop()
            mixed = np.zeros(max(len(before.waveform), len(waveform)), dtype=np.float32)
            mixed[:len(before.waveform)] += before.waveform
            mixed[:len(waveform)] += waveform
            found.append(ElementAudio(before.element, mixed, (*before.mixed, (element, len(waveform)))))
        else:
            found.append(ElementAudio(element, waveform))
    return found


def room_noise(scenario: Scenario, rate: int, seed: int) -> Samples | None:
    """Give the noise [N] under all of the user's audio, which repeats; None where there is none."""
    if scenario.room is None:
        return None
    generator = np.random.default_rng([seed, zlib.crc32(scenario.id.encode()), 1 << 16])
    return at_level(pink_noise(ROOM_SECONDS * rate, generator), scenario.room)


def _waveform(element: Element, voice: str, tts: TTS, rate: int, generator: np.random.Generator) -> Samples:
    samples = round(element.seconds * rate)
    if element.kind in QUIET:
        return np.zeros(samples, dtype=np.float32)
    if element.kind in SPOKEN:
        waveform = _speech(element.text, voice, tts, rate)
    elif element.kind == "cough":
        waveform = cough(rate, generator)
    else:
        waveform = keyboard(samples, rate, generator) if element.kind == "keyboard" else pink_noise(samples, generator)
    return at_level(waveform, element.level)


def _speech(text: str, voice: str, tts: TTS, rate: int) -> Samples:
    """Speak a text, without the silence around it, so that its end is the end of the waveform."""
    try:
        waveform, own = tts.speak(text, voice, SPEED, PITCH)
    except (OmnikitError, LookupError, ValueError) as error:
        raise ConfigError(f"{text!r} cannot be spoken by voice {voice!r}: {error}; name another voice.") from None
    resampled = soxr.resample(np.asarray(waveform, dtype=np.float32), own, rate) if own != rate else waveform
    audible = np.flatnonzero(np.abs(resampled) > AUDIBLE * np.abs(resampled).max(initial=0.0))
    if not len(audible):
        raise ConfigError(f"The audio of {text!r} is silent; write another text.")
    return np.asarray(resampled[audible[0]:audible[-1] + 1], dtype=np.float32)


def cough(rate: int, generator: np.random.Generator) -> Samples:
    """Give a cough: two bursts of noise, each of which fades."""
    samples = round(COUGH_SECONDS * rate)
    times = np.arange(samples) / rate
    envelope = np.exp(-times * 18) + 0.6 * np.where(times > 0.2, np.exp(-(times - 0.2) * 22), 0.0)
    return (pink_noise(samples, generator) * envelope).astype(np.float32)


def keyboard(samples: int, rate: int, generator: np.random.Generator) -> Samples:
    """Give typing: strokes of noise of 8 ms at random times."""
    waveform, ring = np.zeros(samples), np.arange(rate // 50) / rate
    for start in np.sort(generator.integers(0, samples, max(1, round(STROKES * samples / rate)))):
        stroke = generator.standard_normal(len(ring)) * np.exp(-ring * 400) * generator.uniform(0.4, 1)
        waveform[start:start + len(ring)] += stroke[:samples - start]
    return waveform.astype(np.float32)


def pink_noise(samples: int, generator: np.random.Generator) -> Samples:
    """Give noise whose power falls with frequency."""
    spectrum = np.fft.rfft(generator.standard_normal(samples))
    spectrum[0] = 0
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    return np.fft.irfft(spectrum, samples).astype(np.float32)


def at_level(waveform: Samples, level: float) -> Samples:
    """Scale a waveform to so many dB of full scale (root mean square); peaks beyond full scale are clipped."""
    power = max(float(np.sqrt(np.mean(np.square(waveform, dtype=np.float64)))), 1e-9)
    scaled: Samples = np.clip(waveform * np.float32(10 ** (level / 20) / power), -1.0, 1.0).astype(np.float32)
    return scaled
