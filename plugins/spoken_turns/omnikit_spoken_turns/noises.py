"""Noises made from a generator alone, and their mixing with speech at a stated distance. Knows no file and no voice."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Wave = NDArray[np.float32]
PEAK = 0.99  # of what would be clipped otherwise
COLOURS = {"white": 0.0, "pink": 0.5, "brown": 1.0}  # amplitude falls with frequency to this power


def noise(kind: str, samples: int, rate: int, generator: np.random.Generator) -> Wave:
    """Give `samples` of a noise other than babble, its power 1.

    Args:
        kind: white, pink, brown, hum (mains and its harmonics) or clicks (strokes that ring out).
        rate: samples per second.
    """
    if kind in COLOURS:
        return _unit(_coloured(COLOURS[kind], samples, generator))
    return _unit(_hum(samples, rate, generator) if kind == "hum" else _clicks(samples, rate, generator))


def babble(voices: Sequence[Wave], samples: int, generator: np.random.Generator) -> Wave:
    """Give `samples` of several voices at once, each repeated and begun anywhere, its power 1."""
    mixed = np.zeros(samples)
    for voice in voices:
        turned = np.roll(_unit(voice), int(generator.integers(len(voice))))
        mixed += np.resize(turned, samples)
    return _unit(mixed)


def added(wave: Wave, other: Wave, snr_db: float) -> Wave:
    """Add `other` [N] of power 1 under a wave [N], `snr_db` below its power; what would exceed [-1, 1] is turned down whole."""
    mixed = wave + other * np.float32(np.sqrt(np.mean(wave**2)) * 10 ** (-snr_db / 20))
    return quieter(mixed)


def loud(wave: Wave, db: float) -> Wave:
    """Give a wave of power 1 at so many dB of full scale; what would exceed [-1, 1] is turned down whole."""
    return quieter(wave * np.float32(10 ** (db / 20)))


def quieter(wave: Wave) -> Wave:
    """Turn a wave down as a whole where it exceeds [-1, 1]."""
    return wave * np.float32(min(1.0, PEAK / max(float(np.abs(wave).max(initial=0.0)), 1e-9)))


def _unit(wave: NDArray[np.floating]) -> Wave:
    return (wave / max(float(np.sqrt(np.mean(np.square(wave, dtype=np.float64)))), 1e-9)).astype(np.float32)


def _coloured(power: float, samples: int, generator: np.random.Generator) -> NDArray[np.floating]:
    spectrum = np.fft.rfft(generator.standard_normal(samples))
    spectrum[0] = 0
    spectrum[1:] /= np.arange(1, len(spectrum)) ** power
    return np.fft.irfft(spectrum, samples)


def _hum(samples: int, rate: int, generator: np.random.Generator) -> NDArray[np.floating]:
    base, times = (50.0, 60.0)[int(generator.integers(2))], np.arange(samples) / rate  # mains of the world
    phases, weights = generator.uniform(0, 2 * np.pi, 8), generator.uniform(0.2, 1, 8)
    tones = [weight / number * np.sin(2 * np.pi * base * number * times + phase)
             for number, (weight, phase) in enumerate(zip(weights, phases, strict=True), 1)]
    summed: NDArray[np.floating] = np.sum(tones, axis=0)
    return summed + 0.02 * generator.standard_normal(samples)


def _clicks(samples: int, rate: int, generator: np.random.Generator) -> NDArray[np.floating]:
    wave, ring = np.zeros(samples), np.arange(rate // 50) / rate  # a stroke rings for 20 ms
    for start in generator.integers(0, samples, max(1, round(4 * samples / rate))):  # four a second
        tone = np.exp(-ring * 300) * np.sin(2 * np.pi * generator.uniform(500, 4000) * ring)
        heard = tone[: samples - start] * generator.uniform(0.3, 1)
        wave[start : start + len(heard)] += heard
    return wave + 0.001 * generator.standard_normal(samples)
