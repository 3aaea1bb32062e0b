"""Audio of any sample rate to 16 kHz, piece by piece: each output sample depends on its own window of input, so that any
pieces give the same samples."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from omnikit.errors import DataError

RATE = 16000  # Hz, of the input clock
ZERO_CROSSINGS = 16  # of the sinc to each side
KAISER = 8.0  # shape of its window: side lobes below -80 dB
RATES = range(8000, 96001)  # Hz

Samples = NDArray[np.float32]


@dataclass
class ResamplerState:
    """Input samples that outputs still need, the position of the first of them, and how many outputs were given."""

    rate: int = RATE
    tail: Samples = field(default_factory=lambda: np.zeros(0, dtype=np.float32))
    first: int = 0
    given: int = 0


def resample(samples: Samples, state: ResamplerState) -> Samples:
    """Give the samples at 16 kHz that are complete with these; changes `state`.

    Output n is the band-limited input at second n / 16000; it needs about a millisecond of what follows.
    """
    if state.rate == RATE:
        return samples
    up, down = _ratio(state.rate)
    if state.given == 0 and state.first == 0 and not len(state.tail):
        state.tail = np.zeros(_reach(state.rate), dtype=np.float32)  # silence before the beginning
        state.first = -len(state.tail)
    known = np.concatenate([state.tail, samples])
    reach = _reach(state.rate)
    last = (state.first + len(known) - 1 - reach) * up // down  # output whose window is complete
    outputs = np.arange(state.given, max(last + 1, state.given))
    centres, phases = outputs * down // up, outputs * down % up
    windows = (centres - reach - state.first)[:, None] + np.arange(2 * reach + 1)
    found: Samples = (known[windows] * _kernels(state.rate)[phases]).sum(1, dtype=np.float32)
    state.given += len(outputs)
    keep = max(state.given * down // up - reach, state.first)
    state.tail, state.first = known[keep - state.first:].copy(), keep
    return found


def check_rate(rate: int) -> None:
    """Refuse sample rates that no microphone has; raises DataError."""
    if rate not in RATES:
        raise DataError(f"sample_rate is {rate}, but must be from {RATES[0]} to {RATES[-1]} Hz.", kind="sample rate")


def _ratio(rate: int) -> tuple[int, int]:
    common = math.gcd(rate, RATE)
    return RATE // common, rate // common


@cache
def _reach(rate: int) -> int:
    """Give the input samples to each side of an output."""
    return math.ceil(ZERO_CROSSINGS * max(1.0, rate / RATE)) + 1


@cache
def _kernels(rate: int) -> Samples:
    """Give the filter of each phase [up, 2 reach + 1]: a windowed sinc at 0.95 of the lower band limit, its gain 1."""
    up, _ = _ratio(rate)
    reach, cutoff = _reach(rate), 0.95 * min(1.0, RATE / rate)
    distance = np.arange(-reach, reach + 1)[None] - np.arange(up)[:, None] / up  # [up, 2 reach + 1], input samples
    inside = np.clip(1 - (distance / (reach + 1)) ** 2, 0, None)
    kernels = cutoff * np.sinc(cutoff * distance) * np.i0(KAISER * np.sqrt(inside)) / np.i0(KAISER)
    scaled: Samples = (kernels / kernels.sum(1, keepdims=True)).astype(np.float32)
    return scaled
