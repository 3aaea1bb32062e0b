"""Waveforms compared by formulas: what equal, louder, noisier and different ones must give."""

import math

import pytest
import torch
from torch import Tensor

from omnikit.evaluation.audio_metrics import ltas_correlation, mel_distance, stoi_score

RATE = 16000


def syllables(seconds: float = 2.0, seed: int = 0) -> Tensor:
    """Noise that swells four times a second."""
    count = int(seconds * RATE)
    loudness = torch.sin(4 * math.pi * torch.arange(count) / RATE).square()
    return 0.3 * loudness * torch.randn(count, generator=torch.Generator().manual_seed(seed))


def throat(wave: Tensor, delay: int) -> Tensor:
    """The same sound with an echo, which raises some frequencies and lowers others."""
    return wave + 0.9 * torch.nn.functional.pad(wave, (delay, 0))[:len(wave)]


def test_mel_distance_of_louder_audio_is_the_logarithm_of_how_much() -> None:
    wave = 0.1 * torch.randn(RATE, generator=torch.Generator().manual_seed(1))
    assert mel_distance(wave, wave, RATE) == 0.0
    assert mel_distance(3 * wave, wave, RATE) == pytest.approx(math.log(3), rel=1e-3)


def test_waveforms_are_compared_as_far_as_both_go() -> None:
    wave = syllables()
    assert mel_distance(wave[:RATE], wave, RATE) == 0.0
    assert stoi_score(wave, wave[:RATE], RATE) == pytest.approx(1.0, abs=1e-5)
    assert mel_distance(wave[:0], wave, RATE) is None


def test_noise_makes_speech_less_intelligible() -> None:
    wave = syllables()
    hiss = torch.randn(len(wave), generator=torch.Generator().manual_seed(5))
    found = [stoi_score(wave + level * hiss, wave, RATE) or 0.0 for level in (0.0, 0.05, 0.2, 1.0)]
    assert found == sorted(found, reverse=True) and found[0] == pytest.approx(1.0, abs=1e-5) and found[-1] < 0.4


def test_too_little_audio_has_no_stoi() -> None:
    quiet = torch.zeros(2 * RATE)
    quiet[:1000] = syllables()[3000:4000]
    assert stoi_score(syllables(0.3), syllables(0.3), RATE) is None
    assert stoi_score(quiet, quiet, RATE) is None


def test_ltas_of_a_voice_correlates_at_any_loudness_and_text() -> None:
    same = ltas_correlation(throat(syllables(seed=1), 20), 0.2 * throat(syllables(seed=2), 20), RATE)
    other = ltas_correlation(throat(syllables(seed=1), 20), throat(syllables(seed=2), 9), RATE)
    assert same is not None and other is not None
    assert same > 0.97 and other < 0.9


def test_silence_has_no_ltas() -> None:
    assert ltas_correlation(torch.zeros(RATE), syllables(), RATE) is None
    assert ltas_correlation(torch.zeros(0), syllables(), RATE) is None
    assert ltas_correlation(torch.full((RATE,), 1e-6), syllables(), RATE) is None
