"""Sounds that are not meant for the model, and background noise: waveforms [N] in [-1, 1] at 16 kHz from seeds."""

import numpy as np
from numpy.typing import NDArray

Waveform = NDArray[np.float32]
SAMPLE_RATE = 16000
NOISES = ("white", "pink", "brown", "hum", "clicks", "tones", "babble")
BACKGROUND = NOISES[:-1]  # what may be mixed into a question: babble would ask another one
LIVE_NOISES = (*NOISES, "cough", "quiet")  # a session's microphone also takes coughs and quiet rooms
LEVELS, QUIET_LEVELS = (0.02, 0.15), (0.0, 0.002)  # root mean square of a noise, of a quiet room


def noise(kind: str, samples: int, seed: int) -> Waveform:
    """Make a noise of `LIVE_NOISES` other than babble, with root mean square 1."""
    rng = np.random.default_rng(seed)
    if kind in ("white", "pink", "brown"):
        waveform = _colored(samples, {"white": 0.0, "pink": 0.5, "brown": 1.0}[kind], rng)
    elif kind == "quiet":
        waveform = _colored(samples, 0.5, rng)
    elif kind == "cough":
        waveform = _cough(samples, rng)
    elif kind == "hum":
        waveform = _hum(samples, rng)
    elif kind == "clicks":
        waveform = _clicks(samples, rng)
    else:
        waveform = _tones(samples, rng)
    return _normalised(waveform)


def at_random_level(waveform: Waveform, seed: int, levels: tuple[float, float] = LEVELS) -> Waveform:
    """Give a noise at a random level."""
    level = np.random.default_rng(seed).uniform(*levels)
    return np.asarray(np.clip(_normalised(waveform) * np.float32(level), -1, 1), np.float32)


def babble(voices: list[Waveform], samples: int, seed: int) -> Waveform:
    """Mix several recordings, each from a random start, repeated."""
    rng = np.random.default_rng(seed)
    mixture = np.zeros(samples, np.float32)
    for voice in voices:
        mixture += np.resize(np.roll(_normalised(voice), int(rng.integers(len(voice)))), samples)
    return _normalised(mixture)


def mix(speech: Waveform, noise: Waveform, snr_db: float) -> Waveform:
    """Mix a noise of the same length into speech, `snr_db` weaker; what would leave [-1, 1] is scaled down."""
    strength = float(np.sqrt(np.mean(speech**2))) * 10 ** (-snr_db / 20)
    mixture = speech + _normalised(noise) * np.float32(strength)
    return np.asarray(mixture / max(1.0, float(np.abs(mixture).max())), np.float32)


def _normalised(waveform: Waveform) -> Waveform:
    return np.asarray(waveform / np.sqrt(np.mean(waveform**2) + 1e-12), np.float32)


def _colored(samples: int, slope: float, rng: np.random.Generator) -> Waveform:
    """Noise whose amplitude falls with frequency to the power of `slope`, from 50 Hz on."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    frequency = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE)
    waveform: Waveform = np.fft.irfft(spectrum / np.maximum(frequency, 50) ** slope, samples).astype(np.float32)
    return waveform


def _hum(samples: int, rng: np.random.Generator) -> Waveform:
    """Mains hum: 50 or 60 Hz and its harmonics, each weaker."""
    base, time = rng.choice((50, 60)), np.arange(samples) / SAMPLE_RATE
    waveform = sum(np.sin(2 * np.pi * base * k * time + rng.uniform(0, 6.3)) * rng.uniform(0.3, 1) / k for k in range(1, 9))
    return np.asarray(waveform + 0.02 * rng.standard_normal(samples), np.float32)


def _clicks(samples: int, rng: np.random.Generator) -> Waveform:
    """Three to twelve short decaying bursts a second."""
    waveform = 0.002 * rng.standard_normal(samples)
    burst = np.exp(-np.arange(160) / 30)
    for _ in range(max(1, int(samples / SAMPLE_RATE * rng.uniform(3, 12)))):
        start = int(rng.integers(0, max(1, samples - 160)))
        piece = waveform[start : start + 160]
        piece += rng.uniform(0.3, 1) * rng.standard_normal(len(piece)) * burst[: len(piece)]
    return waveform.astype(np.float32)


def _tones(samples: int, rng: np.random.Generator) -> Waveform:
    """Two to six pure tones after one another."""
    pieces = np.array_split(np.arange(samples) / SAMPLE_RATE, int(rng.integers(2, 7)))
    waveform = [np.sin(2 * np.pi * rng.uniform(200, 2500) * time) * rng.uniform(0.4, 1) for time in pieces]
    return np.concatenate(waveform).astype(np.float32)


def _cough(samples: int, rng: np.random.Generator) -> Waveform:
    """One to three bursts of noise, each of which fades, with silence behind."""
    time, waveform = np.arange(samples) / SAMPLE_RATE, np.zeros(samples)
    start = 0.0
    for _ in range(int(rng.integers(1, 4))):
        fading = np.where(time >= start, np.exp(-np.maximum(time - start, 0) * rng.uniform(12, 30)), 0)
        waveform += rng.uniform(0.4, 1) * fading * _colored(samples, rng.uniform(0.2, 0.8), rng)
        start += rng.uniform(0.15, 0.4)
    return waveform.astype(np.float32)
