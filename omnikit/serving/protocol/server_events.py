"""The events that the server sends, as JSON objects; names and fields as in openai 3.57.0 types/realtime.

The id of an event is set by whoever sends it.
"""

from __future__ import annotations

import base64

from omnikit.serving.protocol.fields import Json, JsonObject, ProtocolError
from omnikit.serving.protocol.items import Item
from omnikit.serving.protocol.session_config import SessionConfig


def session_created(config: SessionConfig, session_id: str) -> JsonObject:
    """Give the first event of a session."""
    return {"type": "session.created", "session": {"id": session_id, "object": "realtime.session", **config.json()}}


def session_updated(config: SessionConfig, session_id: str) -> JsonObject:
    """Give the answer to `session.update`: the whole configuration."""
    return {"type": "session.updated", "session": {"id": session_id, "object": "realtime.session", **config.json()}}


def conversation_created(conversation_id: str) -> JsonObject:
    """Give the conversation of a session."""
    return {"type": "conversation.created", "conversation": {"id": conversation_id, "object": "realtime.conversation"}}


def error(found: ProtocolError, event_id: str | None = None) -> JsonObject:
    """Give an error; `event_id` is that of the client's event."""
    return {"type": "error", "error": {**found.body(), "event_id": event_id}}


def item_added(item: Item, previous: str | None) -> JsonObject:
    """Give an item that is in the conversation now."""
    return {"type": "conversation.item.added", "previous_item_id": previous, "item": item.json()}


def item_done(item: Item, previous: str | None) -> JsonObject:
    """Give an item that is complete."""
    return {"type": "conversation.item.done", "previous_item_id": previous, "item": item.json()}


def item_retrieved(item: Item) -> JsonObject:
    """Give an item with its audio."""
    return {"type": "conversation.item.retrieved", "item": item.json(with_audio=True)}


def item_deleted(item_id: str) -> JsonObject:
    """Give that an item is no longer in the conversation."""
    return {"type": "conversation.item.deleted", "item_id": item_id}


def item_truncated(item_id: str, audio_end_ms: int) -> JsonObject:
    """Give that an answer ends where its audio was stopped."""
    return {"type": "conversation.item.truncated", "item_id": item_id, "content_index": 0, "audio_end_ms": audio_end_ms}


def speech_started(item_id: str, at: int) -> JsonObject:
    """Give that speech began at so many milliseconds of input."""
    return {"type": "input_audio_buffer.speech_started", "item_id": item_id, "audio_start_ms": at}


def speech_stopped(item_id: str, at: int) -> JsonObject:
    """Give that speech ended at so many milliseconds of input."""
    return {"type": "input_audio_buffer.speech_stopped", "item_id": item_id, "audio_end_ms": at}


def audio_committed(item_id: str, previous: str | None) -> JsonObject:
    """Give that the buffer became an item."""
    return {"type": "input_audio_buffer.committed", "item_id": item_id, "previous_item_id": previous}


def audio_cleared() -> JsonObject:
    """Give that the buffer was dropped."""
    return {"type": "input_audio_buffer.cleared"}


def timeout_triggered(item_id: str, start: int, end: int) -> JsonObject:
    """Give that the user was silent for too long."""
    return {"type": "input_audio_buffer.timeout_triggered", "item_id": item_id, "audio_start_ms": start, "audio_end_ms": end}


def transcription_completed(item_id: str, transcript: str, seconds: float) -> JsonObject:
    """Give the transcript of a user's audio."""
    return {"type": "conversation.item.input_audio_transcription.completed", "item_id": item_id, "content_index": 0,
            "transcript": transcript, "usage": {"type": "duration", "seconds": seconds}}


def transcription_failed(item_id: str, message: str) -> JsonObject:
    """Give why there is no transcript."""
    return {"type": "conversation.item.input_audio_transcription.failed", "item_id": item_id, "content_index": 0,
            "error": {"type": "invalid_request_error", "code": "transcription_unavailable", "message": message}}


def response_created(response: JsonObject) -> JsonObject:
    """Give that an answer began."""
    return {"type": "response.created", "response": response}


def response_done(response: JsonObject) -> JsonObject:
    """Give that an answer ended, and how."""
    return {"type": "response.done", "response": response}


def output_item_added(response_id: str, item: Item) -> JsonObject:
    """Give the item that an answer fills."""
    return {"type": "response.output_item.added", "response_id": response_id, "output_index": 0, "item": item.json()}


def output_item_done(response_id: str, item: Item) -> JsonObject:
    """Give the item that an answer filled."""
    return {"type": "response.output_item.done", "response_id": response_id, "output_index": 0, "item": item.json()}


def content_part_added(response_id: str, item: Item) -> JsonObject:
    """Give the part of the item that an answer fills."""
    return {"type": "response.content_part.added", **_place(response_id, item.id), "part": item.content[0].part()}


def content_part_done(response_id: str, item: Item) -> JsonObject:
    """Give the part of the item that an answer filled."""
    return {"type": "response.content_part.done", **_place(response_id, item.id), "part": item.content[0].part()}


def text_delta(response_id: str, item_id: str, delta: str) -> JsonObject:
    """Give new text of a text answer."""
    return {"type": "response.output_text.delta", **_place(response_id, item_id), "delta": delta}


def text_done(response_id: str, item_id: str, text: str) -> JsonObject:
    """Give the whole text of a text answer."""
    return {"type": "response.output_text.done", **_place(response_id, item_id), "text": text}


def transcript_delta(response_id: str, item_id: str, delta: str) -> JsonObject:
    """Give new text of a spoken answer."""
    return {"type": "response.output_audio_transcript.delta", **_place(response_id, item_id), "delta": delta}


def transcript_done(response_id: str, item_id: str, transcript: str) -> JsonObject:
    """Give the whole text of a spoken answer."""
    return {"type": "response.output_audio_transcript.done", **_place(response_id, item_id), "transcript": transcript}


def audio_delta(response_id: str, item_id: str, audio: bytes) -> JsonObject:
    """Give new audio of an answer, bytes in the session's output format."""
    return {"type": "response.output_audio.delta", **_place(response_id, item_id), "delta": base64.b64encode(audio).decode()}


def audio_done(response_id: str, item_id: str) -> JsonObject:
    """Give that no audio of an answer follows."""
    return {"type": "response.output_audio.done", **_place(response_id, item_id)}


def _place(response_id: str, item_id: str) -> dict[str, Json]:
    return {"response_id": response_id, "item_id": item_id, "output_index": 0, "content_index": 0}
