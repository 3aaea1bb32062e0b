"""The items of a Realtime conversation and what they contain, from a client and to one."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import Literal

from omnikit.serving.protocol.fields import Fields, Json, JsonObject, ProtocolError

ROLES = ("user", "assistant", "system")
CONTENT = {"user": ("input_text", "input_audio", "input_image"), "assistant": ("output_text", "output_audio"),
           "system": ("input_text",)}
MAX_CONTENT = 64  # parts of an item
MAX_ID = 64  # characters

Status = Literal["in_progress", "completed", "incomplete"]


@dataclass
class Content:
    """A part of an item.

    Args:
        kind: input_text, input_audio, input_image, output_text or output_audio.
        audio: bytes in the session's format.
        image: a data URL.
    """

    kind: str
    text: str | None = None
    audio: bytes | None = None
    transcript: str | None = None
    image: str | None = None

    def json(self, *, with_audio: bool = False) -> JsonObject:
        """Give it as an item states it; audio only on request."""
        if self.kind in ("input_text", "output_text"):
            return {"type": self.kind, "text": self.text or ""}
        if self.kind == "input_image":
            return {"type": self.kind, "image_url": self.image}
        found: JsonObject = {"type": self.kind, "transcript": self.transcript}
        if with_audio and self.audio is not None:
            found["audio"] = base64.b64encode(self.audio).decode()
        return found

    def part(self) -> JsonObject:
        """Give it as `response.content_part.added` and `.done` do."""
        if self.kind == "output_text":
            return {"type": "text", "text": self.text or ""}
        return {"type": "audio", "transcript": self.transcript or ""}


@dataclass
class Item:
    """A message of the conversation."""

    id: str
    role: str
    content: list[Content] = field(default_factory=list)
    status: Status = "completed"

    def json(self, *, with_audio: bool = False) -> JsonObject:
        """Give it as an event states it."""
        content: list[Json] = [one.json(with_audio=with_audio) for one in self.content]
        return {"id": self.id, "object": "realtime.item", "type": "message", "status": self.status, "role": self.role,
                "content": content}


def read_item(fields: Fields) -> Item:
    """Give the item that a client sends; its id is "" where the server shall choose one.

    Raises:
        ProtocolError: it is not a message, or a part of it is impossible.
    """
    if fields.text("type") != "message":
        raise fields.error("type", "'message', because the models of this server call no functions")
    fields.refuse_others(("id", "object", "type", "status", "role", "content", "phase"))
    role, number = fields.choice("role", ROLES), fields.optional_text("id") or ""
    if len(number) > MAX_ID:
        raise ProtocolError(f"{fields.name('id')} has {len(number)} characters, but at most {MAX_ID} are allowed.",
                            "string_above_max_length", fields.name("id"))
    parts = fields.objects("content", MAX_CONTENT)
    if not parts:
        raise fields.error("content", "a list of at least one part", found="an empty list")
    return Item(number, role, [_content(part, role) for part in parts])


def decode_base64(fields: Fields, name: str) -> bytes:
    """Give the bytes of a base64 field."""
    text = fields.text(name)
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        place = fields.name(name)
        raise ProtocolError(f"Invalid {place!r}: the text is not base64.", "invalid_value", place) from None


def _content(fields: Fields, role: str) -> Content:
    kind = fields.choice("type", CONTENT[role])
    if kind in ("input_text", "output_text"):
        fields.refuse_others(("type", "text"))
        return Content(kind, text=fields.text("text"))
    if kind == "input_image":
        fields.refuse_others(("type", "image_url", "detail"))
        return Content(kind, image=fields.text("image_url"))
    fields.refuse_others(("type", "audio", "transcript"))
    if kind == "output_audio":
        return Content(kind, transcript=fields.text("transcript"))
    return Content(kind, audio=decode_base64(fields, "audio"), transcript=fields.optional_text("transcript"))
