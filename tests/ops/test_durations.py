"""Predicted durations: whole frames, a cap, and what is refused."""

import pytest
import torch

from omnikit.errors import RunError
from omnikit.ops.durations import LONGEST, rounded_durations


def test_frames_are_rounded_and_at_least_one() -> None:
    assert rounded_durations(torch.tensor([-0.9, 0.2, 1.5, 2.5, 7.4]), "units").tolist() == [1, 1, 2, 2, 7]


def test_a_wild_prediction_is_capped() -> None:
    assert rounded_durations(torch.tensor([3.0, 400.0]), "units").tolist() == [3, LONGEST]


def test_nothing_lasts_no_frames() -> None:
    assert rounded_durations(torch.zeros(0), "units").tolist() == []


@pytest.mark.parametrize(("value", "word"), [(float("nan"), "nan"), (float("inf"), "inf"), (6e8, r"6e\+08")])
def test_broken_predictors_are_refused(value: float, word: str) -> None:
    with pytest.raises(RunError, match=f"codec units predicts that a unit lasts {word} frames.*train the codec again"):
        rounded_durations(torch.tensor([2.0, value]), "units")
