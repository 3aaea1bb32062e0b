"""/v1/chat/completions: a question to answers, complete or streamed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from omnikit.errors import OmnikitError
from omnikit.inference.engine import AnswerStream
from omnikit.serving.chat_reply import Choice, Completion, finish_reason
from omnikit.serving.chat_request import ChatRequest, read_chat
from omnikit.serving.errors import protocol_error
from omnikit.serving.media import MediaReader
from omnikit.serving.protocol.fields import Fields, JsonObject, parse_object
from omnikit.serving.service import FirstTimes, Service

SMALL = 16 * 1024  # bytes of a request that is parsed at once; a thread of its own costs more


def chat_routes(service: Service) -> APIRouter:
    """Give the route."""
    router = APIRouter()

    @router.post("/v1/chat/completions")
    async def complete(request: Request) -> Response:
        body = await request.body()
        asked = await run_in_threadpool(_read, service, body) if len(body) > SMALL else _read(service, body)
        answers = Answers(service, asked, await begin(service, asked))
        if asked.stream:
            return EventStream(answers)
        return JSONResponse(await answers.complete(request))

    return router


class EventStream(StreamingResponse):
    """The lines of answers; whatever happens to the connection, no answer goes on after it."""

    def __init__(self, answers: Answers) -> None:
        super().__init__(answers.lines(), media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
        self._answers = answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the lines."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._answers.cancel()


def _read(service: Service, body: bytes) -> ChatRequest:
    return read_chat(Fields(parse_object(body)), MediaReader(service.session.plan, service.limits), can_speak=service.can_speak)


async def begin(service: Service, asked: ChatRequest) -> list[AnswerStream]:
    """Begin the answers to a request, each with a seed of its own; none is left where one is refused."""
    streams: list[AnswerStream] = []
    try:
        for number in range(asked.choices):
            seed = asked.options.seed + number if asked.options.seed is not None else None
            streams.append(await service.model.begin(asked.sample, replace(asked.options, seed=seed)))
    except BaseException:
        for stream in streams:
            stream.cancel()
        raise
    return streams


class Answers:
    """The answers to one request."""

    def __init__(self, service: Service, asked: ChatRequest, streams: list[AnswerStream]) -> None:
        self._service, self._asked, self._streams = service, asked, streams
        self._choices = [Choice(asked.audio) for _ in streams]
        self._completion, self._first = Completion(service.settings.name), FirstTimes(service.metrics)

    async def complete(self, request: Request) -> JsonObject:
        """Give all at once; the answers are cancelled where the client goes away."""
        try:
            async for number, events in self._service.model.events(self._streams):
                for event in events:
                    self._choices[number].take(event)
                    self._first.take(event)
                if await request.is_disconnected():
                    break
            if not self._asked.audio:
                return self._completion.complete(self._choices, self._streams)
            return await run_in_threadpool(self._completion.complete, self._choices, self._streams)
        finally:
            self._service.observe(self._streams)

    def cancel(self) -> None:
        """End all that run."""
        for stream in self._streams:
            stream.cancel()

    async def lines(self) -> AsyncIterator[str]:
        """Give server-sent events; an error in the middle is the last one."""
        try:
            async for chunk in self._chunks():
                yield f"data: {json.dumps(chunk)}\n\n"
        except OmnikitError as error:
            found = protocol_error(error)
            self._service.metrics.errors.labels(found.code).inc()
            yield f"data: {json.dumps({'error': found.body()})}\n\n"
        finally:
            self._service.observe(self._streams)
        yield "data: [DONE]\n\n"

    async def _chunks(self) -> AsyncIterator[JsonObject]:
        for number in range(len(self._streams)):
            yield self._completion.chunk(number, {"role": "assistant", "content": None if self._asked.audio else ""})
        ended: set[int] = set()
        async for number, events in self._service.model.events(self._streams):
            for event in events:
                self._first.take(event)
                delta = self._choices[number].delta(event) | ({"state": event.state} if event.state else {})
                if delta or event.logprobs:
                    yield self._completion.chunk(number, delta, tokens=event.logprobs)
            for done in self._newly_ended(ended):
                yield done
        for done in self._newly_ended(ended):
            yield done
        if self._asked.include_usage:
            yield self._completion.usage_chunk(self._streams)

    def _newly_ended(self, ended: set[int]) -> list[JsonObject]:
        """Give the last chunks of answers that are complete now."""
        found = []
        for number, stream in enumerate(self._streams):
            if number not in ended and stream.done and stream.error is None:
                ended.add(number)
                if rest := self._choices[number].last_delta():
                    found.append(self._completion.chunk(number, rest))
                found.append(self._completion.chunk(number, {}, reason=finish_reason(stream)))
        return found
