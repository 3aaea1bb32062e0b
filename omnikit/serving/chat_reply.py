"""An answer as a chat completion: one JSON object, or chunk after chunk."""

from __future__ import annotations

import base64
import io
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from omnikit.inference.answer import Event, TokenLogprob
from omnikit.inference.engine import AnswerStream
from omnikit.serving.protocol.audio_format import AudioFormat
from omnikit.serving.protocol.fields import Json, JsonObject

PCM = AudioFormat()  # pcm16 has 24 000 samples a second, as OpenAI's
FILES = {"wav": ("WAV", "PCM_16"), "flac": ("FLAC", "PCM_16"), "mp3": ("MP3", "MPEG_LAYER_III")}
HOUR = 3600
FINISH = {"stop": "stop", "length": "length", "noise": "stop", "cancelled": "stop"}


def encode_audio(waveform: NDArray[np.float32], sample_rate: int, kind: str) -> bytes:
    """Give the bytes of a waveform [N] as a file, or as samples at 24 kHz (pcm16)."""
    if kind == "pcm16":
        return PCM.encode(np.asarray(soxr.resample(waveform, sample_rate, PCM.rate), dtype=np.float32))
    buffer = io.BytesIO()
    file_format, subtype = FILES[kind]
    soundfile.write(buffer, np.clip(waveform, -1.0, 1.0), sample_rate, format=file_format, subtype=subtype)
    return buffer.getvalue()


@dataclass
class AudioStream:
    """Owns the resampler of one streamed answer: segments in, bytes of pcm16 out."""

    format: AudioFormat = field(default_factory=AudioFormat)
    _resampler: soxr.ResampleStream | None = None

    def push(self, waveform: NDArray[np.float32], sample_rate: int) -> bytes:
        """Give the bytes that are complete with a segment."""
        if sample_rate == self.format.rate:
            return self.format.encode(waveform)
        if self._resampler is None:
            self._resampler = soxr.ResampleStream(sample_rate, self.format.rate, 1, dtype="float32")
        return self.format.encode(self._resampler.resample_chunk(waveform))

    def finish(self) -> bytes:
        """Give what is left when no segment follows."""
        if self._resampler is None:
            return b""
        rest = self._resampler.resample_chunk(np.zeros(0, dtype=np.float32), last=True)
        self._resampler = None
        return self.format.encode(rest)


@dataclass
class Choice:
    """Owns one answer as it comes together."""

    audio: str | None
    text: str = ""
    state: str | None = None
    segments: list[NDArray[np.float32]] = field(default_factory=list)
    sample_rate: int = 16000
    logprobs: list[TokenLogprob] = field(default_factory=list)
    audio_id: str = field(default_factory=lambda: f"audio_{secrets.token_hex(12)}")
    stream: AudioStream = field(default_factory=AudioStream)

    def take(self, event: Event) -> None:
        """Take an event of the answer."""
        self.text += event.text
        self.state = event.state or self.state
        self.logprobs += event.logprobs
        if event.waveform is not None:
            self.sample_rate = event.sample_rate
            self.segments.append(event.waveform)

    def message(self) -> JsonObject:
        """Give the complete answer; with audio its text is the transcript, as OpenAI's."""
        found: JsonObject = {"role": "assistant", "content": self.text, "refusal": None}
        if self.audio:
            waveform = np.concatenate([*self.segments, np.zeros(0, dtype=np.float32)])
            data = base64.b64encode(encode_audio(waveform, self.sample_rate, self.audio)).decode()
            found |= {"content": None, "audio": {"id": self.audio_id, "data": data, "transcript": self.text,
                                                 "expires_at": int(time.time()) + HOUR}}
        return found | ({"state": self.state} if self.state else {})

    def delta(self, event: Event) -> JsonObject:
        """Give an event as the change of a chunk."""
        if not self.audio:
            return {"content": event.text} if event.text else {}
        audio: JsonObject = {"id": self.audio_id}
        if event.text:
            audio["transcript"] = event.text
        if event.waveform is not None and len(event.waveform):
            audio["data"] = base64.b64encode(self.stream.push(event.waveform, event.sample_rate)).decode()
        return {"audio": audio} if len(audio) > 1 else {}

    def last_delta(self) -> JsonObject:
        """Give the audio that the resampler still holds, as the change of a chunk."""
        rest = self.stream.finish() if self.audio else b""
        if not rest:
            return {}
        return {"audio": {"id": self.audio_id, "data": base64.b64encode(rest).decode(),
                          "expires_at": int(time.time()) + HOUR}}


@dataclass(frozen=True)
class Completion:
    """Makes the objects of one completion."""

    model: str
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    def complete(self, choices: Sequence[Choice], streams: Sequence[AnswerStream]) -> JsonObject:
        """Give a complete completion."""
        given: list[Json] = [
            {"index": number, "message": choice.message(), "finish_reason": finish_reason(stream),
             "logprobs": logprobs(choice.logprobs)}
            for number, (choice, stream) in enumerate(zip(choices, streams, strict=True))]
        return {**self._head("chat.completion"), "choices": given, "usage": usage(streams)}

    def chunk(self, number: int, delta: JsonObject, *, reason: str | None = None,
              tokens: Sequence[TokenLogprob] = ()) -> JsonObject:
        """Give a change of an answer."""
        choice: JsonObject = {"index": number, "delta": delta, "finish_reason": reason, "logprobs": logprobs(tokens)}
        return {**self._head("chat.completion.chunk"), "choices": [choice]}

    def usage_chunk(self, streams: Sequence[AnswerStream]) -> JsonObject:
        """Give the chunk with the counts of tokens."""
        return {**self._head("chat.completion.chunk"), "choices": [], "usage": usage(streams)}

    def _head(self, kind: str) -> JsonObject:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


def finish_reason(stream: AnswerStream) -> str:
    """Give why an answer ended, in OpenAI's words."""
    return FINISH[stream.finish_reason or "stop"]


def usage(streams: Sequence[AnswerStream]) -> JsonObject:
    """Give the counts of tokens; the prompt counts once."""
    prompt, answer = max(stream.prompt_tokens for stream in streams), sum(stream.answer_tokens for stream in streams)
    return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer,
            "prompt_tokens_details": {"cached_tokens": streams[0].cached_tokens}}


def logprobs(tokens: Sequence[TokenLogprob]) -> JsonObject | None:
    """Give tokens with their log probabilities; None where there are none."""
    if not tokens:
        return None
    content: list[Json] = [
        {**_token(one.token, one.logprob), "top_logprobs": [_token(*other) for other in one.alternatives]} for one in tokens]
    return {"content": content, "refusal": None}


def _token(text: str, value: float) -> JsonObject:
    return {"token": text, "logprob": max(value, -9999.0), "bytes": list(text.encode("utf-8", "replace"))}
