"""All that changes in a live session, in one object; it is copied, and saved as safetensors with JSON in its header."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from omnikit.contracts.types import ContentPart, Message
from omnikit.errors import DataError
from omnikit.inference.live.events import LiveEvent
from omnikit.inference.live.items import Reply, UserTurn
from omnikit.inference.live.resampler import RATE, ResamplerState, Samples
from omnikit.inference.live.speech_segments import SpeechSegments
from omnikit.inference.live.visual_messages import is_visual
from omnikit.recipe.live import TurnPolicy


@dataclass
class LiveState:
    """Positions are samples of the input clock, 16 kHz.

    Args:
        policy: how turns are taken.
        seed: what the seeds of answers are made of.
        system: the system prompt; None: the template's own.
        clock: how much audio there was, in frames.
        rest: audio of a frame that is not complete.
        resampler: of audio at another rate; None before the first.
        vad: state of voice activity detection.
        frames: audio from `first` on.
        turn: id of the turn that the user is in; None: he is silent. turn_start: where it begins.
        turn_end: where the last turn ended.
        parts: images and texts for the next turn.
        items: turns and answers, in order.
        turns: ids that were given to turns; answers: to answers.
        idle: how long nobody has spoken since the last answer.
        events: that the caller did not get yet.
    """

    policy: TurnPolicy
    seed: int
    system: str | None
    clock: int = 0
    rest: Samples = field(default_factory=lambda: np.zeros(0, dtype=np.float32))
    resampler: ResamplerState | None = None
    vad: dict[str, Samples] = field(default_factory=dict)
    segments: SpeechSegments = field(default_factory=SpeechSegments)
    frames: list[Samples] = field(default_factory=list)
    first: int = 0
    turn: str | None = None
    turn_start: int = 0
    turn_end: int = 0
    parts: list[ContentPart] = field(default_factory=list)
    items: list[UserTurn | Reply] = field(default_factory=list)
    turns: int = 0
    answers: int = 0
    idle: int = 0
    events: list[LiveEvent] = field(default_factory=list)

    @property
    def at(self) -> int:
        """The input clock in milliseconds."""
        return milliseconds(self.clock)

    def emit(self, event: LiveEvent) -> None:
        """Keep an event for the caller."""
        self.events.append(event)

    def replies(self) -> list[Reply]:
        """Give the answers in order."""
        return [item for item in self.items if isinstance(item, Reply)]

    def messages(self, *, prompt: bool) -> list[Message]:
        """Give the conversation so far; for a prompt without what was dropped from it, and as if answers ended now."""
        start = [Message("system", (ContentPart("text", text=self.system),))] if self.system is not None else []
        detects = self.policy.turn_detection == "vad"
        items = [item for item in self.items if not item.dropped][self._beginning():] if prompt else self.items
        found = [item.messages(now=detects) if isinstance(item, Reply) else item.messages for item in items]
        return [*start, *(message for messages in found for message in messages)]

    def _beginning(self) -> int:
        """Give which item a prompt begins with, of those that are not dropped."""
        items, limit = [item for item in self.items if not item.dropped], self.policy.history_turns
        asked = [place for place, item in enumerate(items) if isinstance(item, UserTurn) and item.messages
                 and item.message.role == "user" and not (place and _shows(items[place - 1]))]
        return 0 if limit is None or len(asked) <= limit else asked[-limit - 1]

    def place(self, item: str) -> int:
        """Give where an item stands; raises DataError of kind "unknown item"."""
        found = next((place for place, one in enumerate(self.items) if one.id == item), None)
        if found is None:
            raise DataError(f"item is {item!r}, but this conversation has no turn or answer of that id.", kind="unknown item")
        return found

    # ---- audio ----

    def hold(self, frame: Samples) -> None:
        """Keep a frame and run the clock on."""
        self.frames.append(frame.copy())  # not a view of all that came with it
        self.clock += len(frame)

    def between(self, start: int, end: int) -> Samples:
        """Give the audio between two positions, as far as it is there."""
        found, first = [np.zeros(0, dtype=np.float32)], self.first
        for frame in self.frames:
            found.append(frame[max(start - first, 0):max(end - first, 0)])
            first += len(frame)
        return np.concatenate(found)

    def forget(self, before: int) -> None:
        """Drop frames that end before a position."""
        while self.frames and self.first + len(self.frames[0]) <= before:
            self.first += len(self.frames.pop(0))


def _shows(item: UserTurn | Reply) -> bool:
    """Say whether an item only shows something, so that the question behind it begins with it."""
    return isinstance(item, UserTurn) and bool(item.messages) and is_visual(item.message)


def milliseconds(samples: int) -> int:
    """Give a position of the input clock in milliseconds."""
    return samples * 1000 // RATE
