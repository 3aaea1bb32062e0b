"""A live session as the model's side: the input clock alone counts, so a conversation is the same each time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from omnikit.evaluation.duplex.conversation import PeerEvent, Samples
from omnikit.inference.live import events as live
from omnikit.inference.live.items import Reply
from omnikit.inference.live.session import LiveSession
from omnikit.inference.text_alignment import Mark


class LocalPeer:
    """One conversation; `live` has a pace, so that `push` also generates."""

    rate = 16000

    def __init__(self, session: LiveSession) -> None:
        self.live = session

    def push(self, frame: Samples) -> list[PeerEvent]:
        """Take 32 ms; gives what happened."""
        return [found for event in self.live.push(frame, self.rate) if (found := peer_event(event))]

    def stopped(self, item: str, played_ms: int) -> None:
        """Report nothing: the session counts what was played by the input clock, which is what is measured."""

    def history(self, items: Sequence[str]) -> Mapping[str, str]:
        """Give the text of each answer in the history."""
        replies = {item.id: item for item in self.live.items if isinstance(item, Reply)}
        messages = {item: replies[item].messages(now=False) if item in replies else [] for item in items}
        return {item: "".join(part.text or "" for message in found for part in message.content)
                for item, found in messages.items()}

    def marks(self, items: Sequence[str]) -> Mapping[str, Sequence[Mark]]:
        """Give the session's own marks."""
        return {item.id: list(item.marks) for item in self.live.items if isinstance(item, Reply) and item.id in items}

    def close(self) -> None:
        """Cancel what runs."""
        self.live.reset()


def peer_event(event: live.LiveEvent) -> PeerEvent | None:
    """Give an event of a live session as any model's side reports it; None where that has no such event."""
    at, item = event.at, event.item
    match event:
        case live.SpeechStarted():
            return PeerEvent(at, "speech_started", item)
        case live.SpeechStopped():
            return PeerEvent(at, "speech_stopped", item)
        case live.TurnDecided():
            return PeerEvent(at, "turn_decided", item, event.state)
        case live.AnswerStarted():
            return PeerEvent(at, "answer_started", item)
        case live.TextDelta():
            return PeerEvent(at, "text", item, event.text)
        case live.AudioDelta():
            return PeerEvent(at, "audio", item, audio=event.waveform, rate=event.sample_rate, start=event.start)
        case live.Paused():
            return PeerEvent(at, "paused", item, played_ms=event.played_ms)
        case live.Resumed():
            return PeerEvent(at, "resumed", item, played_ms=event.played_ms)
        case live.Interrupted():
            return PeerEvent(at, "interrupted", item, played_ms=event.played_ms)
        case live.AnswerDone():
            return PeerEvent(at, "answer_done", item, event.reason)
        case live.LiveError():
            return PeerEvent(at, "error", item, event.message)
    return None
