"""Codes of waveforms: encoded once, and a bounded number of them held."""

import numpy as np
import pytest
import torch
from doubles import RATE, FakeCodecModule, speak

from omnikit.data.batch import codes
from omnikit.data.batch.codes import Codes


class Counting(FakeCodecModule):
    encoded = 0

    def encode(self, wave: torch.Tensor) -> torch.Tensor:
        type(self).encoded += 1
        return super().encode(wave)


def test_codes_are_the_codecs_and_made_once() -> None:
    Counting.encoded = 0
    maker, wave = Codes(Counting(9), RATE), speak("one three two")
    expected = [tuple(frame) for frame in FakeCodecModule(9).encode(torch.from_numpy(wave)).tolist()]
    assert [maker(wave), maker(wave.copy())] == [expected, expected] and Counting.encoded == 1


def test_codes_that_were_used_longest_ago_are_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codes, "CACHE", 8)  # two codes of 4 bytes
    Counting.encoded = 0
    maker, waves = Codes(Counting(9), RATE), [np.full(5, level / 10, dtype=np.float32) for level in (1, 2, 3)]
    for index in (0, 1, 0, 2, 0, 1):
        maker(waves[index])
    assert Counting.encoded == 4
