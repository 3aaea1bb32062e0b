"""Predicted durations of units as frames: rounded, capped, and refused where the predictor is broken. Uses no audio."""

from torch import Tensor

from omnikit.errors import RunError

LONGEST = 100  # frames of a unit at most, 2 s at 50 Hz: a few wild predictions cannot fill the memory
ABSURD = 10_000.0  # frames: what predicts more has learned nothing, and its audio would be noise


def rounded_durations(frames: Tensor, codec: str) -> Tensor:
    """Give predicted frames [T] as whole ones between 1 and LONGEST; halves round to even.

    Args:
        codec: the codec that predicts, for the error.

    Raises:
        RunError: a prediction is not a number, or above ABSURD.
    """
    if frames.numel() and not bool((frames < ABSURD).all()):  # nan is not below anything
        worst = float(frames[~(frames < ABSURD)][0])
        raise RunError(f"codec {codec} predicts that a unit lasts {worst:g} frames, but speaks at most {LONGEST} of one; its"
                       " duration predictor has learned nothing usable, so train the codec again, at a lower learning rate.")
    return frames.round().clamp(1, LONGEST).long()
