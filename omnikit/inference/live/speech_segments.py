"""Beginnings and ends of speech, from its probability in one frame after another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from omnikit.recipe.live import TurnPolicy

HYSTERESIS = 0.15  # speech ends so far below the threshold; of silero-vad
Change = Literal["started", "paused", "continued", "stopped"]


@dataclass
class SpeechSegments:
    """What changes from frame to frame; positions in samples of the input clock.

    Args:
        speaking: between "started" and "stopped".
        start: where speech began, or may have begun; None: it has not.
        silent_since: where it may have ended; None: it goes on.
        paused: "paused" was given, and neither "continued" nor "stopped" since.
    """

    speaking: bool = False
    start: int | None = None
    silent_since: int | None = None
    paused: bool = False

    def push(self, probability: float, begin: int, end: int, policy: TurnPolicy) -> Change | None:
        """Take the frame from `begin` to `end`; gives what it changes.

        "started": there was as much speech as the policy asks for. "paused", "continued": silence of `speculative_ms`, and
        speech before it became `min_silence_ms`, which is "stopped".
        """
        loud, quiet = probability >= policy.threshold, probability < policy.threshold - HYSTERESIS
        return self._inside(end - begin, begin, loud=loud, quiet=quiet, policy=policy) if self.speaking else self._outside(
            begin, end, loud=loud, quiet=quiet, policy=policy)

    def end(self) -> None:
        """End the segment whatever the probabilities were."""
        self.speaking, self.start, self.silent_since, self.paused = False, None, None, False

    def _outside(self, begin: int, end: int, *, loud: bool, quiet: bool, policy: TurnPolicy) -> Change | None:
        if loud and self.start is None:
            self.start = begin
        if quiet:
            self.start = None
        if loud and self.start is not None and end - self.start >= policy.min_speech_ms * 16:
            self.speaking = True
            return "started"
        return None

    def _inside(self, frame: int, begin: int, *, loud: bool, quiet: bool, policy: TurnPolicy) -> Change | None:
        if loud:
            paused, self.silent_since, self.paused = self.paused, None, False
            return "continued" if paused else None
        if quiet and self.silent_since is None:
            self.silent_since = begin
        if not quiet or self.silent_since is None:
            return None
        silence = begin + frame - self.silent_since
        if silence >= policy.min_silence_ms * 16:
            return "stopped"
        if policy.speculative_ms is not None and silence >= policy.speculative_ms * 16 and not self.paused:
            self.paused = True
            return "paused"
        return None
