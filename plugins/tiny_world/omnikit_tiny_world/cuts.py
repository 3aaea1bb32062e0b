"""Recordings as a live session gives them: cut where voice activity detection begins and ends, with what lies around it."""

import random

import numpy as np

from omnikit_tiny_world.sounds import SAMPLE_RATE, Waveform, noise

AUDIBLE = 0.02  # of the peak: where speech begins and ends
PADDING = 0.35  # seconds before and behind, at most
ONSET, CUT_ONSETS = 0.06, 0.25  # seconds that are lost at the beginning, at most, and in which fraction
GAIN_DB = (-18.0, 3.0)
QUIET_ROOMS = 0.4  # fraction without any noise
FLOOR_DB = (-80.0, -50.0)  # of full scale: noise of the others
DISTURBED = 0.1  # fraction with a cough or a click before the speech
DISTURBANCE = (0.1, 0.3)  # seconds


def cut(waveform: Waveform, seed: int) -> Waveform:
    """Give a recording [N] cut to its speech, at another level, with up to 0.35 s of its room on both sides [M]."""
    rng = random.Random(seed)
    audible = np.flatnonzero(np.abs(waveform) > AUDIBLE * np.abs(waveform).max(initial=0.0))
    speech = waveform[audible[0]:audible[-1] + 1] if len(audible) else waveform
    if rng.random() < CUT_ONSETS:
        speech = speech[min(_samples(rng.uniform(0, ONSET)), len(speech) // 4):]
    before, after = (np.zeros(_samples(rng.uniform(0, PADDING)), np.float32) for _ in range(2))
    if rng.random() < DISTURBED:
        before = _disturbed(before, float(np.abs(speech).max(initial=0.0)), rng)
    found = np.concatenate([before, speech, after]) * np.float32(10 ** (rng.uniform(*GAIN_DB) / 20))
    if rng.random() >= QUIET_ROOMS:
        found = found + noise("pink", len(found), rng.getrandbits(32)) * np.float32(10 ** (rng.uniform(*FLOOR_DB) / 20))
    return np.asarray(np.clip(found, -1, 1), np.float32)


def _disturbed(before: Waveform, peak: float, rng: random.Random) -> Waveform:
    """Put a cough or clicks at the beginning of what comes before the speech."""
    burst = noise(rng.choice(("cough", "clicks")), _samples(rng.uniform(*DISTURBANCE)), rng.getrandbits(32))[:len(before)]
    loud = burst * np.float32(peak * rng.uniform(0.2, 0.8) / max(float(np.abs(burst).max(initial=0.0)), 1e-9))
    return np.concatenate([loud, before[len(burst):]])


def _samples(seconds: float) -> int:
    return int(seconds * SAMPLE_RATE)
