"""How turns are taken for what a client sets: from the wire's turn detection to the live session's policy."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from omnikit.recipe.live import TurnPolicy
from omnikit.serving.protocol.session_config import SessionConfig
from omnikit.serving.protocol.turn_detection import SemanticVad

SILENCE_MS = {"low": 1200, "medium": 800, "auto": 800, "high": 400}  # that ends a turn, by the eagerness of semantic_vad


def turn_policy(config: SessionConfig, before: TurnPolicy) -> TurnPolicy:
    """Give how turns are taken for what a client sets.

    With server_vad speech ends an answer at once, as on OpenAI's server; with semantic_vad an answer goes on until the model
    has decided that what was spoken is a question for it.
    """
    detection = config.turn_detection
    if detection is None:
        return replace(before, turn_detection="none", answer=False)
    if isinstance(detection, SemanticVad):
        return replace(before, turn_detection="vad", answer=detection.create_response, resume=False,
                       interrupt="decision" if detection.interrupt_response else "never",
                       min_silence_ms=SILENCE_MS[detection.eagerness])
    interrupt: Literal["speech", "never"] = "speech" if detection.interrupt_response else "never"
    return replace(before, turn_detection="vad", answer=detection.create_response, interrupt=interrupt, resume=False,
                   threshold=min(max(detection.threshold, 0.01), 0.99), min_silence_ms=detection.silence_duration_ms,
                   prefix_padding_ms=detection.prefix_padding_ms, idle_timeout_ms=detection.idle_timeout_ms)
