"""Noises made from a generator alone, and mixing at a stated signal-to-noise ratio. Uses no file and no voice."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Waveform = NDArray[np.float32]
PEAK = 0.99  # of what would be clipped otherwise
COLOURS = {"white": 0.0, "pink": 0.5, "brown": 1.0}  # amplitude falls with frequency to this power


def noise(kind: str, samples: int, rate: int, generator: np.random.Generator) -> Waveform:
    """Give `samples` of a noise other than babble, its power 1.

    Args:
        kind: white, pink, brown, hum (mains and its harmonics) or clicks (strokes that ring out).
        rate: samples per second.
    """
    if kind in COLOURS:
        return _unit(_coloured(COLOURS[kind], samples, generator))
    return _unit(_hum(samples, rate, generator) if kind == "hum" else _clicks(samples, rate, generator))


def babble(voices: Sequence[Waveform], samples: int, generator: np.random.Generator) -> Waveform:
    """Give `samples` of several voices at once, each repeated and begun anywhere, its power 1."""
    mixture = np.zeros(samples)
    for voice in voices:
        turned = np.roll(_unit(voice), int(generator.integers(len(voice))))
        mixture += np.resize(turned, samples)
    return _unit(mixture)


def mix_at_snr(waveform: Waveform, other: Waveform, snr_db: float) -> Waveform:
    """Add `other` [N] of power 1 to a waveform [N], `snr_db` below its power; a result that exceeds [-1, 1] is scaled down."""
    mixture = waveform + other * np.float32(np.sqrt(np.mean(waveform**2)) * 10 ** (-snr_db / 20))
    return limited(mixture)


def at_level(waveform: Waveform, db: float) -> Waveform:
    """Scale a waveform of power 1 to so many dB of full scale; a result that exceeds [-1, 1] is scaled down."""
    return limited(waveform * np.float32(10 ** (db / 20)))


def limited(waveform: Waveform) -> Waveform:
    """Scale a waveform down where it exceeds [-1, 1]."""
    return waveform * np.float32(min(1.0, PEAK / max(float(np.abs(waveform).max(initial=0.0)), 1e-9)))


def _unit(waveform: NDArray[np.floating]) -> Waveform:
    return (waveform / max(float(np.sqrt(np.mean(np.square(waveform, dtype=np.float64)))), 1e-9)).astype(np.float32)


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
    waveform, ring = np.zeros(samples), np.arange(rate // 50) / rate  # a stroke rings for 20 ms
    for start in generator.integers(0, samples, max(1, round(4 * samples / rate))):  # four a second
        tone = np.exp(-ring * 300) * np.sin(2 * np.pi * generator.uniform(500, 4000) * ring)
        click = tone[: samples - start] * generator.uniform(0.3, 1)
        waveform[start : start + len(click)] += click
    return waveform + 0.001 * generator.standard_normal(samples)
