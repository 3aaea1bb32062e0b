"""Mixing: noise and another voice mix to a question at a stated ratio. Uses no file."""

import numpy as np
from numpy.typing import NDArray

Waveform = NDArray[np.float32]
PEAK = 0.99  # of what would be clipped otherwise


def with_noise(waveform: Waveform, snr_db: float, generator: np.random.Generator) -> Waveform:
    """Add pink noise (its power falls with the frequency, as that of rooms and streets does) to a waveform [N]."""
    spectrum = np.fft.rfft(generator.standard_normal(len(waveform)))
    spectrum[0] = 0
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    return mix(waveform, np.fft.irfft(spectrum, len(waveform)).astype(np.float32), snr_db)


def with_voice(waveform: Waveform, other: Waveform, below_db: float, generator: np.random.Generator) -> Waveform:
    """Add another voice that begins in the first half of a waveform [N]; what lasts longer than the waveform is cut."""
    start = int(generator.integers(0, max(1, len(waveform) // 2)))
    shifted = np.zeros_like(waveform)
    overlap = other[: len(waveform) - start]
    shifted[start : start + len(overlap)] = overlap
    return mix(waveform, shifted, below_db)


def mix(waveform: Waveform, other: Waveform, below_db: float) -> Waveform:
    """Add `other`, its power `below_db` under the waveform's; a result that exceeds [-1, 1] is scaled down."""
    power, others = float(np.mean(waveform**2)), float(np.mean(other**2))
    if others == 0 or power == 0:
        return waveform
    mixture = waveform + other * np.float32(np.sqrt(power / others) * 10 ** (-below_db / 20))
    return mixture * np.float32(min(1.0, PEAK / float(np.abs(mixture).max())))
