"""/v1/audio/transcriptions and /v1/audio/speech, where the model's heads can do it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import numpy as np
from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from omnikit.contracts.optional import head_options
from omnikit.data.media.audio import decode_audio
from omnikit.data.text.tokenizer import load as load_tokenizer
from omnikit.errors import DataError
from omnikit.inference.sentence_speech import SentenceSpeech
from omnikit.inference.session import Session
from omnikit.inference.speech_stream import AudioSegment
from omnikit.serving.chat_reply import AudioStream, encode_audio
from omnikit.serving.media import SAMPLE_RATE, Waveform
from omnikit.serving.multipart import FormField, parse_form
from omnikit.serving.protocol.fields import Fields, JsonObject, ProtocolError, parse_object
from omnikit.serving.service import Service

TRANSCRIPTS = ("json", "text", "verbose_json")
SPEECH = {"wav": "wav", "pcm": "pcm16", "flac": "flac", "mp3": "mp3"}  # response_format → format of chat's audio
MEDIA_TYPES = {"wav": "audio/wav", "pcm16": "audio/pcm", "flac": "audio/flac", "mp3": "audio/mpeg"}
MAX_INPUT = 4096  # characters, as OpenAI's
OMEGA = 40  # codes of a segment: a second or so


def audio_routes(service: Service) -> APIRouter:
    """Give the routes."""
    router = APIRouter()

    @router.post("/v1/audio/transcriptions")
    async def transcribe(request: Request) -> Response:
        _require_transcripts(service)
        body = await request.body()
        form = await run_in_threadpool(parse_form, body, request.headers.get("content-type", ""))
        kind = form["response_format"].text if "response_format" in form else "json"
        if kind not in TRANSCRIPTS:
            raise ProtocolError(f"response_format is {kind[:40]!r}, but must be one of {', '.join(TRANSCRIPTS)}.",
                                "invalid_value", "response_format")
        waveform = await run_in_threadpool(_recording, service, form)
        texts = await service.model.call(lambda: service.session.transcribe([waveform], SAMPLE_RATE))
        return _transcript(texts[0], len(waveform) / SAMPLE_RATE, kind)

    @router.post("/v1/audio/speech")
    async def speak(request: Request) -> Response:
        fields = Fields(parse_object(await request.body()))
        text, kind = _speech_request(fields)
        segments = await service.model.call(lambda: speech_segments(service.session, text))
        pieces = synthesis(service, segments)
        if kind == "pcm16":
            return StreamingResponse(_pcm(pieces), media_type=MEDIA_TYPES[kind])
        audio = [piece async for piece in pieces]
        waveform = np.concatenate([*audio, np.zeros(0, dtype=np.float32)])
        data = await run_in_threadpool(encode_audio, waveform, service.session.sample_rate, kind)
        return Response(data, media_type=MEDIA_TYPES[kind])

    async def _pcm(pieces: AsyncIterator[Waveform]) -> AsyncIterator[bytes]:
        stream = AudioStream()
        async for piece in pieces:
            yield stream.push(piece, service.session.sample_rate)
        yield stream.finish()

    return router


def speech_segments(session: Session, text: str) -> Iterator[AudioSegment]:
    """Give the audio of a text, segment by segment.

    Raises:
        ProtocolError: no head of the model gives speech for a text alone.
    """
    output, plan = session.speech, session.plan
    if output is None or plan.tokenizer is None or not output.reads_text or head_options(output.head).context is not None:
        reason = "has no speech branch" if output is None else "has a speech head that also reads hidden states"
        raise ProtocolError(f"{plan.recipe.name} {reason}, so it cannot speak a given text; ask /v1/chat/completions for"
                            " audio.", "unsupported_model", "model")
    speech = session.speech_stream(load_tokenizer(plan.tokenizer), OMEGA, independent=False)
    assert isinstance(speech, SentenceSpeech), "the head reads text"
    return speech.finish(text)


async def synthesis(service: Service, segments: Iterator[AudioSegment]) -> AsyncIterator[Waveform]:
    """Give waveforms [N], each made in the model's thread between two steps of the answers that run."""
    while (segment := await service.model.call(lambda: next(segments, None))) is not None:
        if segment.waveform is not None:
            yield segment.waveform


def _require_transcripts(service: Service) -> None:
    if not service.can_transcribe:
        raise ProtocolError(f"{service.settings.name} has no head that gives transcripts, so it cannot transcribe; serve a run"
                            " that has one, for example of asr/tiny.", "unsupported_model", "model")


def _recording(service: Service, form: dict[str, FormField]) -> Waveform:
    if "file" not in form:
        raise ProtocolError("Missing required parameter: 'file'.", "missing_required_parameter", "file")
    try:
        return decode_audio(form["file"].data, SAMPLE_RATE, name="file", seconds=service.limits.audio_seconds)
    except DataError as error:
        raise ProtocolError(str(error), "invalid_audio", "file") from None


def _transcript(text: str, seconds: float, kind: str) -> Response:
    if kind == "text":
        return PlainTextResponse(f"{text}\n")
    found: JsonObject = {"text": text, "usage": {"type": "duration", "seconds": seconds}}
    if kind == "verbose_json":
        found |= {"task": "transcribe", "duration": seconds, "language": "unknown", "segments": []}
    return JSONResponse(found)


def _speech_request(fields: Fields) -> tuple[str, str]:
    """Give the text and the format of its audio."""
    fields.refuse_others(("model", "input", "voice", "instructions", "response_format", "speed", "stream_format"))
    text = fields.text("input")
    if not text.strip() or len(text) > MAX_INPUT:
        raise fields.error("input", f"a text of 1 to {MAX_INPUT} characters", found=f"a text of {len(text)} characters")
    if fields.number("speed", 0.25, 4.0, 1.0) != 1.0:
        raise fields.error("speed", "1, because the model has one pace")
    if fields.text("stream_format", "audio") != "audio":
        raise fields.error("stream_format", "'audio'")
    return text, SPEECH[fields.choice("response_format", SPEECH, "wav")]
