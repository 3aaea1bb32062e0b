"""Voice activity by loudness, against levels worked out by hand."""

import numpy as np
import pytest
from numpy.typing import NDArray
from omnikit_basics.energy import Energy

FRAME = Energy.frame


def tone(decibels: float, frames: int = 1) -> NDArray[np.float32]:
    """A sine of so many decibels below full scale; that of amplitude 1 is at -3.01 dB."""
    phase = 2 * np.pi * 8 * np.arange(FRAME * frames) / FRAME
    return (np.sqrt(2) * 10 ** (decibels / 20) * np.sin(phase)).astype(np.float32)


def probabilities(samples: NDArray[np.float32], config: Energy) -> list[float]:
    vad, found = config.build(), []
    state = vad.init_state()
    for frame in samples.reshape(-1, FRAME):
        probability, state = vad.step(frame, state)
        found.append(probability)
    return found


@pytest.mark.parametrize(("decibels", "expected"), [(-48.0, 0.5), (-46.0, 0.731), (-50.0, 0.269), (-20.0, 1.0), (-120.0, 0.0)])
def test_probability_follows_the_level_above_the_background(decibels: float, expected: float) -> None:
    found, = probabilities(tone(decibels), Energy(margin_db=12.0, floor_db=-60.0, slope_db=2.0))
    assert found == pytest.approx(expected, abs=1e-3)  # of the logistic function of (level - background - margin) / slope


def test_background_rises_by_so_many_decibels_a_second() -> None:
    frames = round(10 * 16000 / FRAME)  # ten seconds raise it by 20 dB, from -60 to -40
    found = probabilities(tone(-28.0, frames + 1), Energy(rise_db=2.0))
    assert found[0] > 0.99 and found[-1] == pytest.approx(0.5, abs=0.02)


def test_background_falls_at_once() -> None:
    samples = np.concatenate([tone(-30.0, 300), tone(-60.0), tone(-48.0)])
    assert probabilities(samples, Energy())[-1] == pytest.approx(0.5, abs=0.01)


def test_digital_silence_is_no_speech() -> None:
    assert max(probabilities(np.zeros(4 * FRAME, np.float32), Energy())) < 1e-6


@pytest.mark.parametrize(("fields", "message"), [({"rise_db": 0.0}, "rise_db is 0.0, but must be above 0"),
                                                 ({"floor_db": 1.0}, "floor_db is 1.0, but must be below 0")])
def test_impossible_settings_are_refused(fields: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Energy(**fields)
