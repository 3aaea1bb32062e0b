"""Sounds in which nobody speaks to the model, and noises under speech: waveforms [N] in [-1, 1] at 16 kHz from seeds."""

import numpy as np
from numpy.typing import NDArray

Wave = NDArray[np.float32]
SAMPLE_RATE = 16000
SOUNDS = ("white", "pink", "brown", "hum", "clicks", "tones", "babble")
UNDER = SOUNDS[:-1]  # what may lie under a question: babble would ask another one
LOUDNESS = (0.02, 0.15)  # root mean square of a sound alone


def sound(kind: str, samples: int, seed: int) -> Wave:
    """Make a sound of `SOUNDS` other than babble, with root mean square 1."""
    chance = np.random.default_rng(seed)
    if kind in ("white", "pink", "brown"):
        wave = _colored(samples, {"white": 0.0, "pink": 0.5, "brown": 1.0}[kind], chance)
    elif kind == "hum":
        wave = _hum(samples, chance)
    elif kind == "clicks":
        wave = _clicks(samples, chance)
    else:
        wave = _tones(samples, chance)
    return _level(wave)


def alone(wave: Wave, seed: int) -> Wave:
    """Give a sound at a random loudness."""
    loud = np.random.default_rng(seed).uniform(*LOUDNESS)
    return np.asarray(np.clip(_level(wave) * np.float32(loud), -1, 1), np.float32)


def babble(voices: list[Wave], samples: int, seed: int) -> Wave:
    """Let several recordings run over each other, each from another moment, around and around."""
    chance = np.random.default_rng(seed)
    mix = np.zeros(samples, np.float32)
    for voice in voices:
        mix += np.resize(np.roll(_level(voice), int(chance.integers(len(voice)))), samples)
    return _level(mix)


def mixed(speech: Wave, noise: Wave, decibels: float) -> Wave:
    """Lay a noise of the same length under speech, so many decibels weaker; what would leave [-1, 1] is turned down."""
    strength = float(np.sqrt(np.mean(speech**2))) * 10 ** (-decibels / 20)
    mix = speech + _level(noise) * np.float32(strength)
    return np.asarray(mix / max(1.0, float(np.abs(mix).max())), np.float32)


def _level(wave: Wave) -> Wave:
    return np.asarray(wave / np.sqrt(np.mean(wave**2) + 1e-12), np.float32)


def _colored(samples: int, slope: float, chance: np.random.Generator) -> Wave:
    """Noise whose amplitude falls with frequency to the power of `slope`, from 50 Hz on."""
    spectrum = np.fft.rfft(chance.standard_normal(samples))
    frequency = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE)
    wave: Wave = np.fft.irfft(spectrum / np.maximum(frequency, 50) ** slope, samples).astype(np.float32)
    return wave


def _hum(samples: int, chance: np.random.Generator) -> Wave:
    """Mains hum: 50 or 60 Hz and its harmonics, each weaker."""
    base, time = chance.choice((50, 60)), np.arange(samples) / SAMPLE_RATE
    wave = sum(np.sin(2 * np.pi * base * k * time + chance.uniform(0, 6.3)) * chance.uniform(0.3, 1) / k for k in range(1, 9))
    return np.asarray(wave + 0.02 * chance.standard_normal(samples), np.float32)


def _clicks(samples: int, chance: np.random.Generator) -> Wave:
    """Three to twelve short decaying bursts a second."""
    wave = 0.002 * chance.standard_normal(samples)
    burst = np.exp(-np.arange(160) / 30)
    for _ in range(max(1, int(samples / SAMPLE_RATE * chance.uniform(3, 12)))):
        start = int(chance.integers(0, max(1, samples - 160)))
        piece = wave[start : start + 160]
        piece += chance.uniform(0.3, 1) * chance.standard_normal(len(piece)) * burst[: len(piece)]
    return wave.astype(np.float32)


def _tones(samples: int, chance: np.random.Generator) -> Wave:
    """Two to six pure tones after one another."""
    pieces = np.array_split(np.arange(samples) / SAMPLE_RATE, int(chance.integers(2, 7)))
    wave = [np.sin(2 * np.pi * chance.uniform(200, 2500) * time) * chance.uniform(0.4, 1) for time in pieces]
    return np.concatenate(wave).astype(np.float32)
