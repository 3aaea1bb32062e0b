"""One answer as Realtime events: created → output item → content part → deltas → each of them done."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from omnikit.inference.answer_usage import AnswerUsage, TokenCounts
from omnikit.serving.protocol import server_events as events
from omnikit.serving.protocol.audio_format import AudioFormat
from omnikit.serving.protocol.fields import Json, JsonObject, ProtocolError
from omnikit.serving.protocol.item_list import ItemList
from omnikit.serving.protocol.items import Content, Item

Reason = Literal["turn_detected", "client_cancelled", "max_output_tokens"]
ResponseStatus = Literal["completed", "cancelled", "failed", "incomplete"]


@dataclass(frozen=True)
class Ending:
    """How an answer ended."""

    status: ResponseStatus = "completed"
    reason: Reason | None = None
    error: ProtocolError | None = None
    usage: AnswerUsage | None = None

    def details(self) -> JsonObject | None:
        """Give `status_details`; None for a complete answer."""
        if self.status == "completed":
            return None
        found: JsonObject = {"type": self.status}
        if self.reason:
            found["reason"] = self.reason
        if self.error:
            found["error"] = {"type": self.error.kind, "code": self.error.code, "message": str(self.error)}
        return found


@dataclass
class Response:
    """Owns the state of one answer on the wire; its item begins with text or audio.

    Args:
        alone: whether it stays outside the conversation.
    """

    id: str
    item_id: str
    modality: str
    format: AudioFormat
    conversation_id: str | None
    items: ItemList
    voice: str = "default"
    alone: bool = False
    metadata: JsonObject | None = None
    max_output_tokens: int | None = None
    item: Item | None = None
    samples: int = field(default=0)  # of audio that were given

    def created(self) -> list[JsonObject]:
        """Give the first event."""
        return [events.response_created(self._json("in_progress", None))]

    def text(self, delta: str) -> list[JsonObject]:
        """Give new text."""
        found = self._begin()
        content = self._content()
        if self.modality == "text":
            content.text = (content.text or "") + delta
            return [*found, events.text_delta(self.id, self.item_id, delta)]
        content.transcript = (content.transcript or "") + delta
        return [*found, events.transcript_delta(self.id, self.item_id, delta)]

    def audio(self, data: bytes) -> list[JsonObject]:
        """Give new audio in the session's output format."""
        found = self._begin()
        self.samples += len(data) // self.format.sample_bytes
        return [*found, events.audio_delta(self.id, self.item_id, data)]

    def finish(self, ending: Ending) -> list[JsonObject]:
        """Give the last events."""
        found: list[JsonObject] = []
        if self.item is not None:
            self.item.status = "completed" if ending.status == "completed" else "incomplete"
            found = [*self._content_done(self._content()), events.content_part_done(self.id, self.item),
                     events.output_item_done(self.id, self.item)]
            if not self.alone and self.item.id in {item.id for item in self.items}:
                found.append(events.item_done(self.item, self.items.previous(self.item.id)))
        return [*found, events.response_done(self._json(ending.status, ending))]

    @property
    def audio_ms(self) -> int:
        """Milliseconds of audio that were given."""
        return self.samples * 1000 // self.format.rate

    def _content(self) -> Content:
        assert self.item is not None, "the item was begun"
        return self.item.content[0]

    def _begin(self) -> list[JsonObject]:
        if self.item is not None:
            return []
        kind = "output_text" if self.modality == "text" else "output_audio"
        self.item = Item(self.item_id, "assistant", status="in_progress")
        found = [events.output_item_added(self.id, self.item)]
        if not self.alone:
            found.append(events.item_added(self.item, self.items.insert(self.item)))
        self.item.content.append(Content(kind))
        return [*found, events.content_part_added(self.id, self.item)]

    def _content_done(self, content: Content) -> list[JsonObject]:
        if self.modality == "text":
            return [events.text_done(self.id, self.item_id, content.text or "")]
        return [events.audio_done(self.id, self.item_id),
                events.transcript_done(self.id, self.item_id, content.transcript or "")]

    def _json(self, status: str, ending: Ending | None) -> JsonObject:
        output: list[Json] = [self.item.json()] if self.item and ending else []
        audio: JsonObject = {"output": {"format": self.format.json(), "voice": self.voice}}
        return {"id": self.id, "object": "realtime.response", "status": status,
                "status_details": ending.details() if ending else None, "output": output,
                "conversation_id": None if self.alone else self.conversation_id, "output_modalities": [self.modality],
                "audio": audio if self.modality == "audio" else None,
                "max_output_tokens": self.max_output_tokens or "inf", "metadata": self.metadata,
                "usage": _usage(ending.usage) if ending and ending.usage else None}


def _usage(usage: AnswerUsage) -> JsonObject:
    """Give what an answer took, as openai 3.57.0 types/realtime/realtime_response_usage.py names it."""
    prompt, cached, answer = usage.prompt, usage.cached, usage.answer
    details: JsonObject = {**_by_modality(prompt), "cached_tokens": cached.total, "cached_tokens_details": _by_modality(cached)}
    return {"total_tokens": prompt.total + answer.total, "input_tokens": prompt.total, "output_tokens": answer.total,
            "input_token_details": details,
            "output_token_details": {"text_tokens": answer.text, "audio_tokens": answer.audio}}


def _by_modality(counts: TokenCounts) -> JsonObject:
    return {"text_tokens": counts.text, "audio_tokens": counts.audio, "image_tokens": counts.image}
