"""The filter bank of mel_cnn against numbers of VITA's audio front end (goldens/whale_fbank)."""

from pathlib import Path

import pytest
from omnikit_mel_cnn.fbank import log_fbank
from safetensors.torch import load_file
from torch.testing import assert_close

CASE = Path(__file__).parent / "goldens" / "whale_fbank"


@pytest.mark.parametrize("clip", [0, 1])  # clip 2 is at 24 kHz: resampling is not the encoder's
def test_filter_bank_equals_the_original(clip: int) -> None:
    wave = load_file(CASE / "inputs.safetensors")[f"wav{clip}"]  # [1, N]
    expected = load_file(CASE / "outputs.safetensors")[f"fbank{clip}"]
    assert_close(log_fbank(wave * 32768, 80, 400, 160)[0], expected, atol=2e-3, rtol=1e-4)  # the case's tolerance
