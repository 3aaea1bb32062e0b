"""Between a Realtime session on the wire and a live session with the model: requests one way, events the other way.

Lives in the model's thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from omnikit.contracts.types import ContentPart, Message
from omnikit.errors import DataError, OmnikitError
from omnikit.inference.answer_usage import AnswerUsage
from omnikit.inference.engine import AnswerOptions
from omnikit.inference.live import events as live_events
from omnikit.inference.live.events import LiveEvent
from omnikit.inference.live.items import Reply
from omnikit.inference.live.session import LiveSession
from omnikit.inference.live.transcripts import turn_transcript
from omnikit.serving.answer_output import ENDINGS, AnswerOutput
from omnikit.serving.errors import protocol_error
from omnikit.serving.media import MediaReader
from omnikit.serving.protocol.client_events import CreateResponse
from omnikit.serving.protocol.fields import JsonObject, ProtocolError
from omnikit.serving.protocol.items import Content, Item
from omnikit.serving.protocol.realtime_session import RealtimeSession
from omnikit.serving.protocol.response import Ending
from omnikit.serving.protocol.session_config import SessionConfig
from omnikit.serving.protocol.turn_detection import ServerVad
from omnikit.serving.service import Service
from omnikit.serving.side_answer import SideAnswer
from omnikit.serving.turn_policy import turn_policy

Send = Callable[[list[JsonObject]], None]


class LiveBridge:
    """Owns a live session and what a client asked of it; see LiveConversation for the methods that the wire calls.

    Args:
        send: takes events for the client.
    """

    def __init__(self, service: Service, live: LiveSession, config: SessionConfig, send: Send) -> None:
        self.service, self.live, self._send = service, live, send
        self.wire = RealtimeSession(config, self)
        self._media = MediaReader(service.session.plan, service.limits)
        self.output = AnswerOutput(self.wire, send)
        self._problem: ProtocolError | None = None  # why the last answer failed
        self._side: SideAnswer | None = None
        self._held: dict[str, list[JsonObject]] = {}  # events of turns of which it is open whether they interrupt
        self._apply(config)

    # ---- what the wire asks for ----

    def configure(self, config: SessionConfig) -> None:
        """Take over a changed configuration."""
        self._apply(config)

    def push(self, audio: bytes) -> None:
        """Take the user's audio."""
        limit = self.service.limits.audio_seconds * 1000
        if self.wire.config.turn_detection is None and self.wire.buffered_ms > limit:
            raise ProtocolError(f"The input audio buffer holds {limit / 1000:g} s, which is as much as it takes; commit or"
                                " clear it.", "input_audio_buffer_full")
        wanted = self.wire.config.input_format
        self._report(self.live.push(wanted.decode(audio), wanted.rate))

    def clear(self) -> None:
        """Drop the user's audio."""
        self.live.clear()

    def commit(self) -> None:
        """End the user's turn."""
        try:
            self.live.commit()
        except DataError as error:
            raise ProtocolError(str(error), "input_audio_buffer_commit_empty") from None

    def insert(self, item: Item, previous: str | None) -> None:
        """Put a client's item into the conversation."""
        message = self.message(item)
        self.live.add(message, _name(item.id))
        if previous is not None and previous != self.wire.items.last():
            self._move(_name(item.id), previous)

    def delete(self, item_id: str) -> None:
        """Take an item out."""
        self.live.remove(self._live_id(item_id))

    def respond(self, asked: CreateResponse, config: SessionConfig) -> None:
        """Begin an answer."""
        options = replace(self._options(config), max_new_tokens=asked.max_output_tokens or config.max_output_tokens)
        if asked.alone or asked.input is not None or asked.instructions is not None:
            self._side = SideAnswer.begin(self, asked, options)
            self._send(self.wire.answer_started(self._side.name))
            return
        if self.live.respond(options) is None:
            problem = next((event.message for event in self.live.advance() if isinstance(event, live_events.LiveError)), "")
            raise ProtocolError(problem or "The answer cannot begin; try again in a moment.", "server_overloaded",
                                kind="server_error")

    def cancel(self) -> AnswerUsage | None:
        """End the answer that is being made; gives what it took."""
        side, self._side, answer = self._side, None, self.wire.answer
        if side:
            side.stream.cancel()
        self.live.cancel()
        return side.stream.usage if side else self._usage(answer)

    def truncate(self, item_id: str, milliseconds: int) -> str:
        """End an answer where its audio was stopped."""
        name = self._live_id(item_id)
        self.live.truncate(name, milliseconds)
        return next((event.text for event in self._drain() if isinstance(event, live_events.Truncated)
                     and event.item == name), "")

    # ---- what the connection calls ----

    def advance(self) -> None:
        """Give the client what happened."""
        self._report(self.live.advance())
        if self._side and self._side.advance():
            self._side = None

    def close(self) -> None:
        """Free what the conversation holds of the model."""
        self.cancel()

    def message(self, item: Item) -> Message:
        """Give an item as the model reads it; raises ProtocolError where its media cannot be used."""
        if item.role == "system":
            raise ProtocolError("A system message cannot stand among the items; set session.instructions with session.update.",
                                "unsupported_content_type", "item.role")
        self._media.count = 0
        return Message(item.role, tuple(self._part(content, number) for number, content in enumerate(item.content)))

    def history(self) -> list[Message]:
        """Give the conversation so far."""
        return self.live.history

    def add_answer(self, item_id: str, text: str) -> None:
        """Put an answer into the conversation that was made outside of the live session."""
        self.live.add(Message("assistant", (ContentPart("text", text=text),)), _name(item_id))

    # ---- the live session's events ----

    def _drain(self) -> list[LiveEvent]:
        found = self.live.advance()
        self._report(found)
        return found

    def _report(self, found: list[LiveEvent]) -> None:
        for event in found:
            self._translate(event)

    def _translate(self, event: LiveEvent) -> None:
        wire = self.wire
        match event:
            case live_events.SpeechStarted():
                self._hold(event.item, wire.speech_started(event.item, event.start_ms))
            case live_events.SpeechStopped():
                self._hold(event.item, wire.speech_stopped(event.item, event.end_ms))
            case live_events.TurnCommitted():
                if not self._decides:
                    self._send(self._held.pop(event.item, []))
                    self._commit_turn(event.item)
            case live_events.TurnDecided():
                self._decided(event)
            case live_events.AnswerStarted():
                self._send(wire.answer_started(event.item))
            case live_events.TextDelta():
                self.output.text(event.item, event.text)
            case live_events.AudioDelta():
                self.output.audio(event.item, event.waveform, event.sample_rate)
            case live_events.Paused():
                self._paused()
            case live_events.AnswerDone():
                self._done(event)
            case live_events.IdleTimeout():
                self._send(wire.timed_out(event.item, event.at - event.silence_ms, event.at))
            case live_events.LiveError():
                self._failed(event)

    @property
    def _decides(self) -> bool:
        """Whether the model decides what becomes of a turn, before it is an item."""
        policy = self.live.policy
        return policy.turn_detection == "vad" and policy.answer

    def _hold(self, turn: str, found: list[JsonObject]) -> None:
        """Give that speech started or stopped; where the model decides what interrupts an answer, only when it has decided."""
        playing = any(isinstance(item, Reply) and item.active for item in self.live.items)
        if turn in self._held or (playing and self.live.policy.interrupt == "decision"):
            self._held.setdefault(turn, []).extend(found)
        else:
            self._send(found)

    def _decided(self, event: live_events.TurnDecided) -> None:
        held = self._held.pop(event.item, [])
        if event.state == "query":
            self._send(held)
            self._commit_turn(event.item)
        elif held:
            return  # the client does not get that somebody spoke
        elif self.wire.asked:  # an answer without content
            self._send(self.wire.answer_started(f"{event.item}:noise"))
            self._send(self.wire.answer_finished(f"{event.item}:noise", Ending()))
        else:
            self._send(self.wire.turn_ignored(event.item))

    def _commit_turn(self, turn: str) -> None:
        """Make an item of a turn, unless it is one."""
        item_id = self.wire.item_id(turn)
        if turn.startswith(ITEM) or item_id in {item.id for item in self.wire.items}:
            return
        self._send(self.wire.turn_committed(turn))
        if self.wire.config.transcription is not None:
            self._transcribe(turn)

    def _transcribe(self, turn: str) -> None:
        try:
            transcript, seconds = turn_transcript(self.live, turn)
            self._send(self.wire.transcribed(turn, transcript, seconds))
        except OmnikitError as error:
            self._send(self.wire.transcription_failed(turn, str(error)))

    def _paused(self) -> None:
        """Let speech end the answer at once where the client asks for that; else the model decides whether it goes on."""
        detection = self.wire.config.turn_detection
        if not (isinstance(detection, ServerVad) and detection.interrupt_response):
            return
        answer = self.wire.answer
        self.live.cancel()
        if answer:
            self.output.finish(answer, replace(ENDINGS["interrupted"], usage=self._usage(answer)))

    def _done(self, event: live_events.AnswerDone) -> None:
        usage = self._usage(event.item)
        ending = replace(ENDINGS[event.reason], usage=usage)
        if ending.status == "failed":
            ending = replace(ending, error=self._problem)
        self._problem = None
        self.service.observe_live(event.reason, usage)
        self.output.finish(event.item, ending)

    def _failed(self, event: live_events.LiveError) -> None:
        self._problem = protocol_error(DataError(event.message))
        if self.wire.response is None:
            if not self.wire.item_id(event.item) or self._decides:
                self._commit_turn(event.item)
            self._send(self.wire.answer_refused(self._problem))

    # ---- details ----

    def _usage(self, answer: str | None) -> AnswerUsage | None:
        return next((item.usage for item in self.live.items if isinstance(item, Reply) and item.id == answer), None)

    def _apply(self, config: SessionConfig) -> None:
        self.live.policy = turn_policy(config, self.live.policy)
        options = self._options(config)
        state = self.live.state()
        if options != self.live.options or state.system != config.instructions:
            self.live.options, state.system = options, config.instructions
            self.live.restore(state)

    def _options(self, config: SessionConfig) -> AnswerOptions:
        return AnswerOptions(max_new_tokens=config.max_output_tokens, speak=config.modality == "audio")

    def _part(self, content: Content, number: int) -> ContentPart:
        place = f"item.content[{number}]"
        if content.kind == "input_image":
            return self._media.image(content.image or "", f"{place}.image_url")
        if content.kind == "input_audio" and content.audio is not None:
            wanted = self.wire.config.input_format
            waveform = wanted.decode(content.audio)
            if not len(waveform) or len(waveform) > self.service.limits.audio_seconds * wanted.rate:
                raise ProtocolError(f"{place}.audio has {len(waveform) / wanted.rate:g} s, but must have more than 0 and at"
                                    f" most {self.service.limits.audio_seconds:g} s.", "invalid_audio", f"{place}.audio")
            return ContentPart("audio", audio=waveform, sample_rate=wanted.rate)
        return ContentPart("text", text=content.text or content.transcript or "")

    def _move(self, name: str, previous: str) -> None:
        """Put the last item of the conversation behind another one."""
        state = self.live.state()
        last = next(item for item in state.items if item.id == name)
        state.items.remove(last)
        before = [item.id for item in state.items]
        state.items.insert(before.index(self._live_id(previous)) + 1 if previous != "root" else 0, last)
        self.live.restore(state)

    def _live_id(self, item_id: str) -> str:
        return self.wire.name_of(item_id) or _name(item_id)


ITEM = "item:"  # before the id of a client's item, so that it is never that of a turn


def _name(item_id: str) -> str:
    return ITEM + item_id
