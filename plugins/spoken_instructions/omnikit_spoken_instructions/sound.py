"""Waves: noise and another voice laid over a question at a stated distance. Knows no file."""

import numpy as np
from numpy.typing import NDArray

Wave = NDArray[np.float32]
PEAK = 0.99  # of what would be clipped otherwise


def with_noise(wave: Wave, snr_db: float, generator: np.random.Generator) -> Wave:
    """Lay pink noise (its power falls with the frequency, as that of rooms and streets does) under a whole wave [N]."""
    spectrum = np.fft.rfft(generator.standard_normal(len(wave)))
    spectrum[0] = 0
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    return added(wave, np.fft.irfft(spectrum, len(wave)).astype(np.float32), snr_db)


def with_voice(wave: Wave, other: Wave, below_db: float, generator: np.random.Generator) -> Wave:
    """Let another voice begin somewhere in the first half of a wave [N]; what lasts longer than the wave is cut."""
    start = int(generator.integers(0, max(1, len(wave) // 2)))
    placed = np.zeros_like(wave)
    heard = other[: len(wave) - start]
    placed[start : start + len(heard)] = heard
    return added(wave, placed, below_db)


def added(wave: Wave, other: Wave, below_db: float) -> Wave:
    """Add `other`, its power `below_db` under the wave's; what would exceed [-1, 1] is turned down as a whole."""
    power, others = float(np.mean(wave**2)), float(np.mean(other**2))
    if others == 0 or power == 0:
        return wave
    mixed = wave + other * np.float32(np.sqrt(power / others) * 10 ** (-below_db / 20))
    return mixed * np.float32(min(1.0, PEAK / float(np.abs(mixed).max())))
