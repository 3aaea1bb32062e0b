"""Plays a scenario: the user's audio goes to the model's side in frames of 32 ms, its answers to a loudspeaker.

The user reacts: an interruption begins when so much of an answer was played, so that it meets models of every speed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import soxr

from omnikit.evaluation.duplex.conversation import FRAME_MS, Conversation, PeerEvent, Samples, Span
from omnikit.evaluation.duplex.playback import RATE, Playback
from omnikit.evaluation.duplex.scenario import Scenario
from omnikit.evaluation.duplex.user_audio import ElementAudio
from omnikit.inference.text_alignment import Mark

PATIENCE_MS = 8000  # of an element that waits for an answer's audio
DRAIN_MS = 10000  # for which an answer may go on behind the end of the track
QUIET_MS = 320  # of silence behind the last answer
ECHO_MS = 80  # from the loudspeaker to the microphone


class Peer(Protocol):
    """The model's side, for one conversation."""

    @property
    def rate(self) -> int:
        """Samples a second of the user's audio."""

    def push(self, frame: Samples) -> list[PeerEvent]:
        """Take 32 ms of the user's audio; gives what happened until then."""

    def stopped(self, item: str, played_ms: int) -> None:
        """Take that playback of an answer was stopped there, because the user speaks."""

    def history(self, items: Sequence[str]) -> Mapping[str, str]:
        """Give the text of answers in the history, as far as it can be asked for; an answer that it has not is ""."""

    def marks(self, items: Sequence[str]) -> Mapping[str, Sequence[Mark]]:
        """Give (sample, characters) of answers, as far as there are any."""

    def close(self) -> None:
        """End the conversation."""


@dataclass
class UserTrack:
    """Gives the user's audio frame by frame and records where each element stood."""

    elements: deque[ElementAudio]
    rate: int
    rest: Samples = field(default_factory=lambda: np.zeros(0, dtype=np.float32))
    waited: int = 0
    spans: list[Span] = field(default_factory=list)

    @property
    def done(self) -> bool:
        """Whether all of it was given."""
        return not self.elements and not len(self.rest)

    def next(self, at: int, playback: Playback) -> Samples:
        """Give the frame that begins at `at` milliseconds; silence while an element waits for an answer."""
        size = self.rate * FRAME_MS // 1000
        frame, filled = np.zeros(size, dtype=np.float32), 0
        while filled < size:
            if not len(self.rest) and not self._begin(at + 1000 * filled / self.rate, playback):
                break
            piece, self.rest = self.rest[:size - filled], self.rest[size - filled:]
            frame[filled:filled + len(piece)] = piece
            filled += len(piece)
        return frame

    def _begin(self, at: float, playback: Playback) -> bool:
        if not self.elements:
            return False
        wanted, item = self.elements[0].element.during_answer, playback.item
        if wanted is not None and self.waited < PATIENCE_MS and not (item and playback.played_ms(item) >= 1000 * wanted):
            self.waited += FRAME_MS
            return False
        audio, self.waited = self.elements.popleft(), 0
        self.rest = audio.waveform
        lengths = [(audio.element, len(audio.waveform)), *audio.mixed]
        self.spans += [Span(element, at, at + 1000 * length / self.rate, item) for element, length in lengths]
        return True


@dataclass
class Player:
    """One conversation in progress."""

    peer: Peer
    playback: Playback = field(default_factory=Playback)
    events: list[PeerEvent] = field(default_factory=list)
    stops: list[tuple[int, str]] = field(default_factory=list)
    running: set[str] = field(default_factory=set)  # answers that are being generated
    user: list[Samples] = field(default_factory=list)
    echo: deque[Samples] = field(default_factory=deque)  # the echo that is under way

    def frame(self, user: Samples, echo: float | None) -> None:
        """Play 32 ms in both directions."""
        played = self.playback.play()
        if echo is not None:
            user = self._with_echo(user, played, echo)
        self.user.append(user)
        for event in self.peer.push(user):
            self.take(event)

    def take(self, event: PeerEvent) -> None:
        """React to an event as a client does."""
        item = event.item or self.playback.item
        self.events.append(event)
        if event.kind == "answer_started":
            self.running.add(item)
        elif event.kind == "answer_done":
            self.running.discard(item)
        elif event.kind == "audio":
            self.playback.give(event)
        elif event.kind == "resumed":
            self.playback.resume(item)
            self.stops = [one for one in self.stops if one[1] != item]
        elif event.kind in ("paused", "interrupted"):
            for name in [event.item] if event.item else dict.fromkeys([item, *sorted(self.running)]):
                self._stop(name)

    def _stop(self, item: str) -> None:
        played = self.playback.stop(item) if item else None
        if played is not None:
            self.stops.append((self.playback.at, item))
            self.peer.stopped(item, played)

    def _with_echo(self, user: Samples, played: Samples, level: float) -> Samples:
        """Add what the loudspeaker played 80 ms ago."""
        resampled = soxr.resample(played, self.playback.rate or RATE, self.peer.rate)
        line = np.zeros(len(user), dtype=np.float32)
        line[:len(resampled)] = resampled[:len(user)]
        if not self.echo:
            self.echo.extend([np.zeros(self.peer.rate * ECHO_MS // 1000, dtype=np.float32)])
        waiting = np.concatenate([*self.echo, line * np.float32(10 ** (level / 20))])
        self.echo = deque([waiting[len(user):]])
        mixed: Samples = np.clip(user + waiting[:len(user)], -1.0, 1.0).astype(np.float32)
        return mixed


def play(scenario: Scenario, elements: Sequence[ElementAudio], peer: Peer, room: Samples | None = None) -> Conversation:
    """Play a scenario to its end, and until the last answer was played or 10 s have passed.

    Args:
        room: noise [N] under all of the user's audio, which repeats.
    """
    player, track = Player(peer), UserTrack(deque(elements), peer.rate)
    quiet = drained = 0
    while not track.done or (quiet < QUIET_MS and drained < DRAIN_MS):
        user = track.next(player.playback.at, player.playback)
        if room is not None:
            there = np.arange(len(player.user) * len(user), (len(player.user) + 1) * len(user)) % len(room)
            user = np.clip(user + room[there], -1.0, 1.0)
        player.frame(user, scenario.echo)
        if track.done:
            drained += FRAME_MS
            quiet = 0 if player.running or player.playback.waiting else quiet + FRAME_MS
    answers = [event.item for event in player.events if event.kind == "answer_started"]
    playback = player.playback
    return Conversation(scenario, track.spans, player.events, playback.segments, np.concatenate(player.user), peer.rate,
                        playback.waveform(), playback.rate or RATE, player.stops, peer.history(answers), peer.marks(answers))
