"""Turns of the user: begun and ended by voice activity, or by hand."""

from __future__ import annotations

import numpy as np

from omnikit.contracts.configs import VADConfig
from omnikit.contracts.protocols import VAD
from omnikit.contracts.types import ContentPart, Message
from omnikit.errors import ConfigError, DataError
from omnikit.inference.live.events import (
    IdleTimeout,
    SpeculationDiscarded,
    SpeechStarted,
    SpeechStopped,
    TurnCommitted,
    TurnDecided,
)
from omnikit.inference.live.items import UserTurn
from omnikit.inference.live.replies import Replies
from omnikit.inference.live.resampler import RATE, Samples
from omnikit.inference.live.state import LiveState, milliseconds
from omnikit.inference.live.turn_encoder import TurnEncoder
from omnikit.inference.live.visual_messages import ordered

PER_MS = RATE // 1000  # samples
_DETECTIONS: dict[str, VAD] = {}  # hold weights only


class UserTurns:
    """Owns the detection, which conversations share; everything else is in the state.

    Args:
        replies: to the user's turns.
        encoder: of the turn that is spoken.
    """

    def __init__(self, vad: VAD, state: LiveState, replies: Replies, encoder: TurnEncoder) -> None:
        self.vad, self.state, self.replies, self.encoder = vad, state, replies, encoder

    def push(self, frame: Samples) -> None:
        """Take one frame of the microphone."""
        state, begin = self.state, self.state.clock
        state.hold(frame)
        for reply in state.replies():
            reply.play(len(frame))
        if state.policy.turn_detection == "vad":
            self._detect(frame, begin)
            self._encode()
            state.forget(state.turn_start if state.turn else self._earliest)
        self._count_idle(len(frame))

    def commit(self) -> UserTurn:
        """End the turn by hand, without an answer; raises DataError of kind "empty turn"."""
        state = self.state
        self._continued()
        if len(state.rest):
            rest, state.rest = state.rest, state.rest[:0]
            state.hold(rest)
        start = state.turn_start if state.turn else state.turn_end
        recorded = state.turn is not None or state.policy.turn_detection == "none"
        audio = state.between(start, state.clock) if recorded else state.rest
        if not len(audio) and not state.parts:
            raise DataError("The turn is empty, so it cannot be committed; push audio, text or an image first.",
                            kind="empty turn")
        turn = self._turn(audio)
        state.segments.end()
        self._close(turn, state.clock)
        return turn

    def clear(self) -> None:
        """Drop the turn that is not committed."""
        state = self.state
        state.rest, state.parts, state.turn, state.turn_end = state.rest[:0], [], None, state.clock
        state.segments.end()
        self.encoder.reset()

    def _encode(self) -> None:
        """Encode what certainly belongs to the turn."""
        state = self.state
        if state.turn and state.policy.answer and self.encoder.branches:
            silent = state.segments.silent_since
            end = state.clock if silent is None else min(silent + self._tail, state.clock)
            start = state.turn_start if self.encoder.position is None else self.encoder.position
            self.encoder.follow(start, state.between(start, end))

    # ---- detection ----

    @property
    def _earliest(self) -> int:
        """Where a turn may begin that has not begun yet."""
        start = self.state.segments.start
        return (self.state.clock if start is None else start) - self.state.policy.prefix_padding_ms * PER_MS

    @property
    def _tail(self) -> int:
        """Samples of silence that a turn ends with."""
        policy = self.state.policy
        return min(policy.prefix_padding_ms, policy.speculative_ms or policy.min_silence_ms) * PER_MS

    def _detect(self, frame: Samples, begin: int) -> None:
        state = self.state
        probability, after = self.vad.step(frame, state.vad)
        state.vad = dict(after)
        change = state.segments.push(probability, begin, state.clock, state.policy)
        if change == "started":
            self._started(state.segments.start or 0)
        elif change == "paused" and self._answers:
            self._speculate()
        elif change == "continued":
            self._continued()
        elif change == "stopped":
            self._stopped((state.segments.silent_since or 0) + self._tail)
        elif state.turn and state.clock - state.turn_start >= state.policy.max_turn_ms * PER_MS:
            self._cut()

    def _started(self, start: int) -> None:
        state = self.state
        state.turns += 1
        state.turn = f"turn_{state.turns}"
        state.turn_start = max(start - state.policy.prefix_padding_ms * PER_MS, state.turn_end, state.first)
        state.emit(SpeechStarted(state.at, state.turn, milliseconds(state.turn_start)))
        self.replies.speech_started()

    def _stopped(self, end: int) -> None:
        state = self.state
        state.segments.end()
        assert state.turn, "speech stops where it has started"
        end = min(end, state.clock)
        state.emit(SpeechStopped(state.at, state.turn, milliseconds(end)))
        speculated = next((item for item in state.items if isinstance(item, UserTurn) and item.id == state.turn), None)
        answers, begun = self._answers, speculated is not None and self.replies.confirm()
        turn = speculated or self._turn(state.between(state.turn_start, end))
        self._close(turn, end)
        if state.policy.answer and not answers:
            turn.state = "dropped"
            state.emit(TurnDecided(state.at, turn.id, "dropped"))
        elif answers and not begun:
            self.replies.begin(turn)

    def _cut(self) -> None:
        """End a turn that is too long; the user goes on in the next one."""
        state, segments = self.state, self.state.segments
        self._continued()
        self._stopped(state.clock)
        segments.speaking, segments.start = True, state.clock
        self._started(state.clock)

    def _speculate(self) -> None:
        state = self.state
        turn = self._turn(state.between(state.turn_start, (state.segments.silent_since or 0) + self._tail))
        state.items.append(turn)
        self.replies.begin(turn, speculative=True)

    def _continued(self) -> None:
        """Take back what began at a pause."""
        state = self.state
        turn = next((item for item in state.items if isinstance(item, UserTurn) and item.id == state.turn), None)
        if turn is None:
            return
        if self.replies.discard_speculative():
            state.emit(SpeculationDiscarded(state.at, turn.id))
        state.items.remove(turn)
        state.parts = [part for part in turn.message.content if part.type != "audio"] + state.parts

    # ---- ends of turns ----

    @property
    def _answers(self) -> bool:
        """Whether a turn that ends now is answered."""
        policy = self.state.policy
        return policy.answer and not (policy.interrupt == "never" and self.replies.active())

    def _turn(self, audio: Samples) -> UserTurn:
        """Give the turn of some audio, with the images and texts of it, in the order of omnikit.inference.question."""
        state = self.state
        if state.turn is None:
            state.turns += 1
        parts, state.parts = state.parts, []
        if len(audio) and state.turn and state.policy.answer:
            self.encoder.finish(state.turn_start, audio)
        spoken = [ContentPart("audio", audio=np.array(audio), sample_rate=RATE)] if len(audio) else []
        return UserTurn(state.turn or f"turn_{state.turns}", Message("user", ordered([*parts, *spoken])))

    def _close(self, turn: UserTurn, end: int) -> None:
        state = self.state
        state.turn, state.turn_end = None, end
        self.encoder.reset()
        state.forget(end if state.policy.turn_detection == "none" else min(end, self._earliest))
        if turn not in state.items:
            state.items.append(turn)
        state.emit(TurnCommitted(state.at, turn.id))

    def _count_idle(self, samples: int) -> None:
        """Count the silence behind an answer, and report it once."""
        state, limit = self.state, self.state.policy.idle_timeout_ms
        last = next((reply for reply in reversed(state.replies()) if reply.over), None)
        if limit is None or last is None or state.turn or self.replies.streams or self.replies.active():
            state.idle = 0
            return
        before, state.idle = state.idle, state.idle + samples
        if before < limit * PER_MS <= state.idle:
            state.emit(IdleTimeout(state.at, last.id, milliseconds(state.idle)))


def shared_vad(config: VADConfig) -> VAD:
    """Give the one detection of a configuration in this process; raises ConfigError if it takes another sample rate."""
    key = f"{type(config).__module__}.{config!r}"
    if key in _DETECTIONS:
        return _DETECTIONS[key]
    if config.sample_rate != RATE:
        raise ConfigError(f"live.vad takes audio at {config.sample_rate} Hz, but must take it at {RATE}; name another one.")
    return _DETECTIONS.setdefault(key, config.build())

