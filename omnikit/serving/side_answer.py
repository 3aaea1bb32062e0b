"""An answer that a client asks for beside the conversation, or with instructions or input of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from omnikit.contracts.types import ContentPart, Message, Sample
from omnikit.errors import OmnikitError
from omnikit.inference.engine import AnswerOptions, AnswerStream
from omnikit.serving.answer_output import AnswerOutput
from omnikit.serving.errors import protocol_error
from omnikit.serving.protocol.client_events import CreateResponse
from omnikit.serving.protocol.fields import ProtocolError
from omnikit.serving.protocol.items import Item
from omnikit.serving.protocol.live_conversation import random_id
from omnikit.serving.protocol.realtime_session import RealtimeSession
from omnikit.serving.protocol.response import Ending
from omnikit.serving.service import Service


class Bridge(Protocol):
    """What such an answer needs of the bridge."""

    service: Service
    wire: RealtimeSession
    output: AnswerOutput

    def message(self, item: Item) -> Message: ...
    def history(self) -> list[Message]: ...
    def add_answer(self, item_id: str, text: str) -> None: ...


@dataclass
class SideAnswer:
    """Owns its stream."""

    bridge: Bridge
    name: str
    stream: AnswerStream
    alone: bool
    text: str = ""

    @classmethod
    def begin(cls, bridge: Bridge, asked: CreateResponse, options: AnswerOptions) -> SideAnswer:
        """Begin it; raises OmnikitError where nothing is asked."""
        history = [message for message in bridge.history() if message.role != "system"]
        messages = history if asked.input is None else [bridge.message(item) for item in asked.input]
        if not any(message.role == "user" for message in messages):
            raise ProtocolError("There is no user's message to answer; create an item first.", "invalid_value", "response")
        system = asked.instructions if asked.instructions is not None else bridge.wire.config.instructions
        start = [Message("system", (ContentPart("text", text=system),))] if system else []
        stream = bridge.service.model.engine.begin(Sample("response", (*start, *messages)), options)
        return cls(bridge, random_id("side"), stream, asked.alone)

    def advance(self) -> bool:
        """Give what is ready; True when the answer is complete."""
        for event in self.stream.take():
            if event.text:
                self.text += event.text
                self.bridge.output.text(self.name, event.text)
            if event.waveform is not None and len(event.waveform):
                self.bridge.output.audio(self.name, event.waveform, event.sample_rate)
        if not self.stream.done:
            return False
        item_id = self.bridge.wire.item_id(self.name)
        self.bridge.output.finish(self.name, self._ending(self.stream.error))
        if item_id and self.text and not self.alone:
            self.bridge.add_answer(item_id, self.text)
        return True

    def _ending(self, error: OmnikitError | None) -> Ending:
        usage = self.stream.usage
        if error:
            return Ending("failed", error=protocol_error(error), usage=usage)
        if self.stream.finish_reason == "length":
            return Ending("incomplete", "max_output_tokens", usage=usage)
        return Ending(usage=usage)
