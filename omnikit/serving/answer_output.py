"""Text and audio of answers on their way to a Realtime client, resampled to the session's output format."""

from __future__ import annotations

from collections.abc import Callable

from omnikit.serving.chat_reply import AudioStream
from omnikit.serving.media import Waveform
from omnikit.serving.protocol.fields import JsonObject
from omnikit.serving.protocol.realtime_session import RealtimeSession
from omnikit.serving.protocol.response import Ending

ENDINGS = {  # reason of a live session's AnswerDone → how the wire gives it
    "stop": Ending(), "noise": Ending(), "length": Ending("incomplete", "max_output_tokens"),
    "interrupted": Ending("cancelled", "turn_detected"), "cancelled": Ending("cancelled", "client_cancelled"),
    "error": Ending("failed")}
Send = Callable[[list[JsonObject]], None]


class AnswerOutput:
    """Owns the resampler of the answer that is being given."""

    def __init__(self, wire: RealtimeSession, send: Send) -> None:
        self._wire, self._send = wire, send
        self._answer: str | None = None
        self._stream = AudioStream()

    def text(self, answer: str, text: str) -> None:
        """Give text of an answer."""
        self._send(self._wire.answer_text(answer, text))

    def audio(self, answer: str, waveform: Waveform, sample_rate: int) -> None:
        """Give audio of an answer."""
        if self._answer != answer:
            self._answer, self._stream = answer, AudioStream(self._wire.config.output_format)
        self._send(self._wire.answer_audio(answer, self._stream.push(waveform, sample_rate)))

    def finish(self, answer: str, ending: Ending) -> None:
        """Give the end of an answer; what the resampler holds only where all of it is given."""
        if self._answer == answer and ending.status in ("completed", "incomplete"):
            self._send(self._wire.answer_audio(answer, self._stream.finish()))
        self._answer = None
        self._send(self._wire.answer_finished(answer, ending))
