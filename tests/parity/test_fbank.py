"""The filter bank of mel_cnn against numbers of VITA's audio front end (goldens/whale_fbank)."""

from pathlib import Path

import pytest
from omnikit_mel_cnn.fbank import log_fbank
from parity.kinds.whale_fbank import rounding
from safetensors.torch import load_file

CASE = Path(__file__).parent / "goldens" / "whale_fbank"


@pytest.mark.parametrize("clip", [0, 1])  # clip 2 is at 24 kHz: resampling is not the encoder's
def test_filter_bank_equals_the_original(clip: int) -> None:
    wave = load_file(CASE / "inputs.safetensors")[f"wav{clip}"]  # [1, N]
    expected = load_file(CASE / "outputs.safetensors")[f"fbank{clip}"]
    found = log_fbank(wave * 32768, 80, 400, 160)[0]
    assert found.shape == expected.shape
    allowed = 2e-3 + 1e-4 * expected.abs() + rounding(expected)  # the case's tolerance, and what no FFT in float32 is free of
    excess = (found - expected).abs() - allowed
    assert excess.max() <= 0, f"{float(excess.max()):.2g} more than allowed"
