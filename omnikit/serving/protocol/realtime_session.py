"""A Realtime session as a state machine: a client's events and what happens in the conversation in, the server's events out.

Holds no model and no socket: what the client asks for goes to a LiveConversation, which reports through the other methods.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import assert_never

from omnikit.errors import OmnikitError
from omnikit.serving.protocol import client_events as client
from omnikit.serving.protocol import server_events as events
from omnikit.serving.protocol.fields import JsonObject, ProtocolError
from omnikit.serving.protocol.item_list import ItemList
from omnikit.serving.protocol.items import Content, Item
from omnikit.serving.protocol.live_conversation import LiveConversation, random_id
from omnikit.serving.protocol.response import Ending, Response
from omnikit.serving.protocol.session_config import SessionConfig, read_modality

LEAST_COMMIT_MS = 100  # as OpenAI's server

Events = list[JsonObject]


class RealtimeSession:
    """Owns the state of one session on the wire: configuration, items, input buffer and the answer that is being made."""

    def __init__(self, config: SessionConfig, conversation: LiveConversation,
                 new_id: Callable[[str], str] = random_id) -> None:
        self.config, self.items = config, ItemList()
        self.response: Response | None = None
        self._conversation, self._new_id = conversation, new_id
        self._id, self._conversation_id = new_id("sess"), new_id("conv")
        self._asked: client.CreateResponse | None = None  # what the next answer was asked with
        self._bytes = 0  # of the input buffer
        self._turns: dict[str, str] = {}  # the conversation's name of a turn or an answer → id of its item
        self._milliseconds: dict[str, int] = {}  # item → its audio

    # ---- the client's events ----

    def begin(self) -> Events:
        """Give the first events."""
        return self._sent([events.session_created(self.config, self._id), events.conversation_created(self._conversation_id)])

    def handle(self, received: client.ClientMessage) -> Events:
        """Give the events that answer a client's; errors are events too."""
        try:
            return self._sent(self._handle(received.event))
        except ProtocolError as error:
            return self.failed(error, received.event_id)
        except OmnikitError as error:
            return self.failed(ProtocolError(str(error)), received.event_id)

    def failed(self, error: ProtocolError, event_id: str | None = None) -> Events:
        """Give an error."""
        return self._sent([events.error(error, event_id)])

    def _handle(self, event: client.ClientEvent) -> Events:
        match event:
            case client.UpdateSession():
                return self._update(event)
            case client.AppendAudio():
                return self._append(event)
            case client.CommitAudio():
                return self._commit()
            case client.ClearAudio():
                return self._clear()
            case client.ClearOutput():
                raise ProtocolError("output_audio_buffer.clear is for WebRTC and SIP, but this is a WebSocket; stop the"
                                    " playback and send conversation.item.truncate.", "invalid_event_for_transport", "type")
            case client.CreateItem():
                return self._create(event)
            case client.DeleteItem():
                return self._delete(event)
            case client.RetrieveItem():
                return [events.item_retrieved(self.items.find(event.item_id, "item_retrieve_invalid_item_id"))]
            case client.TruncateItem():
                return self._truncate(event)
            case client.CreateResponse():
                return self._respond(event)
            case client.CancelResponse():
                return self._cancel(event)
            case _:
                assert_never(event)

    def _update(self, event: client.UpdateSession) -> Events:
        changed = self.config.updated(event.session)
        self._conversation.configure(changed)
        self.config = changed
        return [events.session_updated(changed, self._id)]

    def _append(self, event: client.AppendAudio) -> Events:
        self._bytes += len(event.audio)
        self._conversation.push(event.audio)
        return []

    def _commit(self) -> Events:
        milliseconds = self.buffered_ms
        if milliseconds < LEAST_COMMIT_MS:
            raise ProtocolError(f"Error committing input audio buffer: buffer too small. Expected at least"
                                f" {LEAST_COMMIT_MS}ms of audio, but buffer only has {milliseconds:.2f}ms of audio.",
                                "input_audio_buffer_commit_empty")
        self._bytes = 0
        self._conversation.commit()
        return []

    def _clear(self) -> Events:
        self._bytes = 0
        self._conversation.clear()
        return [events.audio_cleared()]

    def _create(self, event: client.CreateItem) -> Events:
        item = event.item
        item.id = item.id or self._new_id("item")
        self.items.check(item, event.previous)
        self._conversation.insert(item, event.previous)
        previous = self.items.insert(item, event.previous)
        return [events.item_added(item, previous), events.item_done(item, previous)]

    def _delete(self, event: client.DeleteItem) -> Events:
        item = self.items.find(event.item_id, "item_delete_invalid_item_id")
        if self.response and self.response.item is item:
            raise ProtocolError(f"{item.id} is being made; cancel the response first.", "item_delete_invalid_item_id",
                                "item_id")
        self._conversation.delete(item.id)
        self.items.delete(item.id)
        return [events.item_deleted(item.id)]

    def _truncate(self, event: client.TruncateItem) -> Events:
        item = self.items.find(event.item_id, "item_truncate_invalid_item_id")
        if item.role != "assistant" or item.content[0].kind != "output_audio":
            raise ProtocolError(f"{item.id} is not a spoken answer, so it cannot be truncated.",
                                "item_truncate_invalid_item_id", "item_id")
        found = self._stop(self.response) if self.response and self.response.item is item else []
        end = min(event.audio_end_ms, self._milliseconds.get(item.id, 0))
        item.content[0].transcript = self._conversation.truncate(item.id, end)
        self._milliseconds[item.id] = end
        return [*found, events.item_truncated(item.id, end)]

    def _respond(self, event: client.CreateResponse) -> Events:
        if self.response or self._asked:
            name = self.response.id if self.response else "the last one"
            raise ProtocolError(f"Conversation already has an active response in progress: {name}. Wait until the response is"
                                " finished before creating a new one.", "conversation_already_has_active_response")
        self._modality(event)  # refuses what the model cannot give
        self._asked = event
        try:
            self._conversation.respond(event, self.config)
        except OmnikitError:
            self._asked = None
            raise
        return []

    def _cancel(self, event: client.CancelResponse) -> Events:
        if self.response is None or event.response_id not in (None, self.response.id):
            raise ProtocolError("Cancellation failed: no active response found.", "response_cancel_not_active", "response_id")
        return self._stop(self.response)

    def _stop(self, response: Response) -> Events:
        usage = self._conversation.cancel()
        self.response = None
        return self._finish(response, Ending("cancelled", "client_cancelled", usage=usage))

    # ---- what happens in the conversation ----

    def speech_started(self, turn: str, at: int) -> Events:
        """Give that speech began at `at` milliseconds of input."""
        return self._sent([events.speech_started(self._name(turn), at)])

    def speech_stopped(self, turn: str, at: int) -> Events:
        """Give that speech ended."""
        return self._sent([events.speech_stopped(self._name(turn), at)])

    def turn_ignored(self, turn: str) -> Events:
        """Give that what was spoken is not for the model and is dropped."""
        self._turns.pop(turn, None)
        self._bytes = 0
        return self._sent([events.audio_cleared()])

    def turn_committed(self, turn: str) -> Events:
        """Give the item of the user's turn."""
        self._bytes = 0
        item = Item(self._name(turn), "user", [Content("input_audio")])
        previous = self.items.insert(item)
        return self._sent([events.audio_committed(item.id, previous), events.item_added(item, previous),
                           events.item_done(item, previous)])

    def transcribed(self, turn: str, transcript: str, seconds: float) -> Events:
        """Give the transcript of the user's turn."""
        item_id = self._name(turn)
        for item in self.items:
            if item.id == item_id:
                item.content[0].transcript = transcript
        return self._sent([events.transcription_completed(item_id, transcript, seconds)])

    def transcription_failed(self, turn: str, message: str) -> Events:
        """Give why there is no transcript of the user's turn."""
        return self._sent([events.transcription_failed(self._name(turn), message)])

    def answer_started(self, answer: str) -> Events:
        """Give a new response."""
        asked, self._asked = self._asked or client.CreateResponse(), None
        self.response = Response(
            self._new_id("resp"), self._name(answer), self._modality(asked), self.config.output_format, self._conversation_id,
            self.items, self.config.voice, asked.alone, asked.metadata,
            asked.max_output_tokens or self.config.max_output_tokens)
        return self._sent(self.response.created())

    def answer_text(self, answer: str, delta: str) -> Events:
        """Give new text of the answer."""
        response = self._active(answer)
        return self._sent(response.text(delta)) if response and delta else []

    def answer_audio(self, answer: str, data: bytes) -> Events:
        """Give new audio of the answer, in the output format."""
        response = self._active(answer)
        return self._sent(response.audio(data)) if response and data and response.modality == "audio" else []

    def answer_finished(self, answer: str, ending: Ending) -> Events:
        """Give the end of the answer; nothing where the client has cancelled it before."""
        response = self._active(answer)
        if response is None:
            return []
        self.response = None
        return self._sent(self._finish(response, ending))

    def answer_refused(self, error: ProtocolError) -> Events:
        """Give why an answer that was asked for did not begin."""
        self._asked = None
        return self.failed(error)

    def timed_out(self, answer: str, start: int, end: int) -> Events:
        """Give that nobody spoke from `start` to `end` milliseconds of input, after an answer."""
        return self._sent([events.timeout_triggered(self._name(answer), start, end)])

    def item_id(self, name: str) -> str | None:
        """Give the id of a turn's or an answer's item."""
        return self._turns.get(name)

    def name_of(self, item_id: str) -> str | None:
        """Give the turn or answer that an item is of; None for a client's item."""
        return next((name for name, found in self._turns.items() if found == item_id), None)

    @property
    def answer(self) -> str | None:
        """The conversation's name of the answer that is being given."""
        return self.name_of(self.response.item_id) if self.response else None

    @property
    def asked(self) -> bool:
        """Whether an answer was asked for that has not begun."""
        return self._asked is not None

    @property
    def buffered_ms(self) -> float:
        """Milliseconds of audio that came since the last turn."""
        return self._bytes * 1000 / self.config.input_format.sample_bytes / self.config.input_format.rate

    def _finish(self, response: Response, ending: Ending) -> Events:
        self._milliseconds[response.item_id] = response.audio_ms
        return response.finish(ending)

    def _active(self, answer: str) -> Response | None:
        return self.response if self.response and self.response.item_id == self._turns.get(answer) else None

    def _modality(self, asked: client.CreateResponse) -> str:
        if asked.fields is None:
            return self.config.modality
        return read_modality(asked.fields, self.config.modality, can_speak=self.config.can_speak)

    def _name(self, turn: str) -> str:
        """Give the id of a turn's item, which is chosen when the turn is first named."""
        return self._turns.setdefault(turn, self._new_id("item"))

    def _sent(self, found: Sequence[JsonObject]) -> Events:
        return [{"event_id": self._new_id("event"), **event} for event in found]
