"""The events that a Realtime client sends, parsed; names and fields as in openai 3.57.0 types/realtime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from omnikit.errors import nearest
from omnikit.serving.protocol.fields import Fields, JsonObject, ProtocolError, parse_object
from omnikit.serving.protocol.items import Item, decode_base64, read_item
from omnikit.serving.protocol.session_config import read_limit

MAX_EVENT_ID = 512  # characters
MAX_METADATA = 16  # pairs
HOUR_MS = 3_600_000


@dataclass(frozen=True)
class UpdateSession:
    """`session.update`: the session's fields, which SessionConfig.updated reads."""

    session: Fields


@dataclass(frozen=True)
class AppendAudio:
    """`input_audio_buffer.append`: bytes in the session's input format."""

    audio: bytes


@dataclass(frozen=True)
class CommitAudio:
    """`input_audio_buffer.commit`: the user's turn is complete."""


@dataclass(frozen=True)
class ClearAudio:
    """`input_audio_buffer.clear`: the user's turn is dropped."""


@dataclass(frozen=True)
class ClearOutput:
    """`output_audio_buffer.clear`: for WebRTC and SIP only."""


@dataclass(frozen=True)
class CreateItem:
    """`conversation.item.create`: `previous` is "root" for the start and None for the end."""

    item: Item
    previous: str | None


@dataclass(frozen=True)
class DeleteItem:
    """`conversation.item.delete`."""

    item_id: str


@dataclass(frozen=True)
class RetrieveItem:
    """`conversation.item.retrieve`."""

    item_id: str


@dataclass(frozen=True)
class TruncateItem:
    """`conversation.item.truncate`: so many milliseconds of an answer's audio were played."""

    item_id: str
    audio_end_ms: int


@dataclass(frozen=True)
class CreateResponse:
    """`response.create`: None leaves what the session has.

    Args:
        alone: True answers outside the conversation.
        input: items that replace the conversation as the prompt.
        fields: of the response, for what the session decides.
    """

    alone: bool = False
    input: tuple[Item, ...] | None = None
    instructions: str | None = None
    max_output_tokens: int | None = None
    metadata: JsonObject | None = None
    fields: Fields | None = None


@dataclass(frozen=True)
class CancelResponse:
    """`response.cancel`: None is the one that runs."""

    response_id: str | None


ClientEvent = (UpdateSession | AppendAudio | CommitAudio | ClearAudio | ClearOutput | CreateItem | DeleteItem | RetrieveItem
               | TruncateItem | CreateResponse | CancelResponse)


@dataclass(frozen=True)
class ClientMessage:
    """A parsed event and the id that the client gave it."""

    event: ClientEvent
    event_id: str | None


class ClientEventError(ProtocolError):
    """A message that is not an event; `event_id` is the client's where it can be read."""

    def __init__(self, error: ProtocolError, event_id: str | None) -> None:
        super().__init__(str(error), error.code, error.param, kind=error.kind, status=error.status)
        self.event_id = event_id


def parse_event(message: str | bytes, limit: int) -> ClientMessage:
    """Parse a message of a client.

    Args:
        limit: bytes or characters of a message at most.

    Raises:
        ClientEventError: it is too large, not JSON, of an unknown type, or a field is missing or wrong.
    """
    event_id: str | None = None
    try:
        if isinstance(message, bytes):
            raise ProtocolError("The message is binary, but must be the text of one JSON object.", "invalid_json")
        if len(message) > limit:
            raise ProtocolError(f"The message has {len(message)} characters, but at most {limit} are allowed; send shorter"
                                " ones.", "message_too_large")
        fields = Fields(parse_object(message))
        event_id = _event_id(fields)
        return ClientMessage(_parse(fields), event_id)
    except ProtocolError as error:
        raise ClientEventError(error, event_id) from None


def _event_id(fields: Fields) -> str | None:
    found = fields.optional_text("event_id")
    if found and len(found) > MAX_EVENT_ID:
        raise ProtocolError(f"event_id has {len(found)} characters, but at most {MAX_EVENT_ID} are allowed.",
                            "string_above_max_length", "event_id")
    return found


def _parse(fields: Fields) -> ClientEvent:
    kind = fields.text("type")
    if kind not in PARSERS:
        raise ProtocolError(f"Invalid value: 'type' is {kind[:60]!r}, which is not an event of a client."
                            f"{nearest(kind[:60], PARSERS)}", "invalid_value", "type")
    known, parse = PARSERS[kind]
    fields.refuse_others(("type", "event_id", *known))
    return parse(fields)


def _create_item(fields: Fields) -> CreateItem:
    return CreateItem(read_item(fields.object("item")), fields.optional_text("previous_item_id"))


def _truncate(fields: Fields) -> TruncateItem:
    fields.integer("content_index", 0, 0)  # an answer has one part
    return TruncateItem(fields.text("item_id"), fields.integer("audio_end_ms", 0, 24 * HOUR_MS))


def _create_response(fields: Fields) -> CreateResponse:
    given = fields.optional_object("response")
    if given is None:
        return CreateResponse()
    given.refuse_others(("audio", "conversation", "input", "instructions", "max_output_tokens", "metadata",
                         "output_modalities", "parallel_tool_calls", "prompt", "reasoning", "tool_choice", "tools"))
    items = tuple(read_item(one) for one in given.objects("input", 256)) if given.has("input") else None
    return CreateResponse(given.text("conversation", "auto") == "none", items, given.optional_text("instructions"),
                          read_limit(given, None), _metadata(given), given)


def _metadata(fields: Fields) -> JsonObject | None:
    given = fields.optional_object("metadata")
    if given is None:
        return None
    if len(given.values) > MAX_METADATA:
        raise fields.error("metadata", f"an object of at most {MAX_METADATA} pairs")
    return {name: given.text(name) for name in given.values}


PARSERS: dict[str, tuple[tuple[str, ...], Callable[[Fields], ClientEvent]]] = {
    "session.update": (("session",), lambda fields: UpdateSession(fields.object("session"))),
    "input_audio_buffer.append": (("audio",), lambda fields: AppendAudio(decode_base64(fields, "audio"))),
    "input_audio_buffer.commit": ((), lambda fields: CommitAudio()),
    "input_audio_buffer.clear": ((), lambda fields: ClearAudio()),
    "output_audio_buffer.clear": ((), lambda fields: ClearOutput()),
    "conversation.item.create": (("item", "previous_item_id"), _create_item),
    "conversation.item.delete": (("item_id",), lambda fields: DeleteItem(fields.text("item_id"))),
    "conversation.item.retrieve": (("item_id",), lambda fields: RetrieveItem(fields.text("item_id"))),
    "conversation.item.truncate": (("item_id", "content_index", "audio_end_ms"), _truncate),
    "response.create": (("response",), _create_response),
    "response.cancel": (("response_id",), lambda fields: CancelResponse(fields.optional_text("response_id"))),
}
