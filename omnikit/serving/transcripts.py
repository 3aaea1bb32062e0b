"""Transcripts of a user's turns in a live session, where a head of the model gives them."""

from __future__ import annotations

import numpy as np

from omnikit.errors import PlanError
from omnikit.inference.live.items import UserTurn
from omnikit.inference.live.session import LiveSession
from omnikit.serving.service import Service


def turn_transcript(service: Service, live: LiveSession, turn: str) -> tuple[str, float]:
    """Give the transcript of a turn's audio and its seconds.

    Raises:
        PlanError: no head of the model gives transcripts.
    """
    if not service.can_transcribe:
        raise PlanError(f"{service.settings.name} has no head that gives transcripts.")
    audio = [(np.asarray(part.audio, dtype=np.float32), part.sample_rate) for item in live.items
             if isinstance(item, UserTurn) and item.id == turn for part in item.message.content if part.audio is not None]
    texts = [service.session.transcribe([waveform], rate)[0] for waveform, rate in audio]
    return " ".join(texts), sum(len(waveform) / rate for waveform, rate in audio)
