"""Transcripts of a user's turns in a live session, where a head of the model gives them."""

from __future__ import annotations

import numpy as np

from omnikit.errors import PlanError
from omnikit.inference.live.items import UserTurn
from omnikit.inference.live.resampler import Samples
from omnikit.inference.live.session import LiveSession


def can_transcribe(live: LiveSession) -> bool:
    """Say whether a head of the model gives transcripts."""
    return any(output.head.target == "transcript" for output in live.session.plan.outputs.values())


def turn_transcript(live: LiveSession, turn: str) -> tuple[str, float]:
    """Give the transcript of a turn's audio and its seconds.

    Raises:
        PlanError: no head of the model gives transcripts.
    """
    if not can_transcribe(live):
        raise PlanError(f"{live.session.plan.recipe.name} has no head that gives transcripts.")
    texts = [live.session.transcribe([waveform], rate)[0] for waveform, rate in _audio(live, turn)]
    return " ".join(texts), turn_seconds(live, turn)


def turn_seconds(live: LiveSession, turn: str) -> float:
    """Give how long a turn's audio is."""
    return sum(len(waveform) / rate for waveform, rate in _audio(live, turn))


def _audio(live: LiveSession, turn: str) -> list[tuple[Samples, int]]:
    return [(np.asarray(part.audio, dtype=np.float32), part.sample_rate) for item in live.items
            if isinstance(item, UserTurn) and item.id == turn for part in item.message.content if part.audio is not None]
