"""Resampling in pieces against the same in one piece, soxr, and a sine at the new rate."""

import numpy as np
import pytest
import soxr
from numpy.typing import NDArray

from omnikit.errors import DataError
from omnikit.inference.live.resampler import RATE, ResamplerState, check_rate, resample

RATES = [8000, 11025, 22050, 24000, 44100, 48000]


def sine(rate: int, seconds: float = 0.5, frequency: float = 440.0) -> NDArray[np.float32]:
    return np.sin(2 * np.pi * frequency * np.arange(int(rate * seconds)) / rate).astype(np.float32)


def pieces(samples: NDArray[np.float32], rate: int, sizes: list[int]) -> NDArray[np.float32]:
    state, found, start = ResamplerState(rate), [], 0
    for size in sizes:
        found.append(resample(samples[start:start + size], state))
        start += size
    return np.concatenate([*found, resample(samples[start:], state)])


@pytest.mark.parametrize("rate", RATES)
def test_output_is_the_sine_at_the_new_rate(rate: int) -> None:
    found = pieces(sine(rate), rate, [])
    expected = sine(RATE)[:len(found)]
    assert 0.49 * RATE < len(found) <= 0.5 * RATE
    np.testing.assert_allclose(found[400:-50], expected[400:-50], atol=2e-3)  # side lobes of the window


@pytest.mark.parametrize("rate", RATES)
def test_any_pieces_give_the_same_samples(rate: int) -> None:
    samples = np.random.default_rng(0).normal(size=rate // 4).astype(np.float32)
    sizes = np.random.default_rng(1).integers(0, 700, 12).tolist()
    once = pieces(samples, rate, [])
    for cuts in ([1] * 50, [160] * 6, sizes):
        np.testing.assert_array_equal(pieces(samples, rate, cuts), once)


def test_noise_below_the_band_limit_is_that_of_soxr() -> None:
    smooth = soxr.resample(np.random.default_rng(0).normal(size=4000).astype(np.float32), 8000, 24000)  # nothing above 4 kHz
    found, expected = pieces(smooth, 24000, []), soxr.resample(smooth, 24000, RATE)
    np.testing.assert_allclose(found[200:-200], expected[200:len(found) - 200], atol=0.02)


def test_what_is_above_the_band_limit_is_removed() -> None:
    assert np.abs(pieces(sine(48000, frequency=11000.0), 48000, [])[200:-200]).max() < 1e-3


def test_the_own_rate_passes_unchanged() -> None:
    samples = sine(RATE)
    np.testing.assert_array_equal(pieces(samples, RATE, [7, 100]), samples)


@pytest.mark.parametrize("rate", [0, 7999, 192000])
def test_impossible_rates_are_refused(rate: int) -> None:
    with pytest.raises(DataError, match=f"sample_rate is {rate}, but must be from 8000 to 96000 Hz"):
        check_rate(rate)
