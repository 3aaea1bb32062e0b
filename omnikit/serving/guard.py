"""What stands before every route: keys, rates, sizes, a limit on how slowly a client may read; then metrics and logs."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from omnikit.serving.logs import note
from omnikit.serving.protocol.fields import JsonObject, ProtocolError
from omnikit.serving.service import Service

OPEN = ("/health", "/ready")  # routes without key, rate and log
ROUTES = ("/health", "/ready", "/metrics", "/v1/models", "/v1/chat/completions", "/v1/audio/transcriptions",
          "/v1/audio/speech", "/v1/realtime")


class SlowClient(Exception):  # noqa: N818  # ends a connection; it is no error of the server
    """A client does not read what is sent to it."""


@dataclass
class GuardedRequest:
    """One request on its way through the guard: counts what comes and limits how long sending takes."""

    receive_next: Receive
    send_next: Send
    limit: int
    seconds: float
    status: int = 0
    received: int = 0
    started: bool = False
    at: float = field(default_factory=time.perf_counter)

    async def receive(self) -> Message:
        """Receive a message; raises ProtocolError (413) where the body is too large."""
        message = await self.receive_next()
        self.received += len(message.get("body", b""))
        if message["type"] == "http.request" and self.received > self.limit:
            raise too_large(self.limit)
        return message

    async def send(self, message: Message) -> None:
        """Send a message; raises SlowClient where the client does not read."""
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            self.status, self.started = int(message["status"]), True
        if message["type"] == "websocket.accept":
            self.status, self.started = 101, True
        try:
            await asyncio.wait_for(self.send_next(message), self.seconds)
        except TimeoutError:
            raise SlowClient from None


class Guard:
    """ASGI middleware around the routes."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] not in ("http", "websocket") or scope["path"] in OPEN:
            await self._app(scope, receive, send)
            return
        limits = self._service.limits
        guarded = GuardedRequest(receive, send, limits.body_bytes, limits.send_seconds)
        try:
            self._check(scope)
            await self._serve(scope, guarded)
        except ProtocolError as error:
            await self._refuse(scope, guarded, error)
        except SlowClient:  # uvicorn closes the connection, because the answer is not complete
            note("client reads too slowly", route=route(scope))
        finally:
            self._observe(scope, guarded)

    def _check(self, scope: Scope) -> None:
        headers, address = Headers(scope=scope), (scope.get("client") or ("unknown", 0))[0]
        needs_key = scope["path"].startswith("/v1/") or scope["path"] == "/metrics"
        client = self._service.access.check(headers, address, needs_key=needs_key)
        if needs_key:
            self._service.access.count(client)
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self._service.limits.body_bytes:
            raise too_large(self._service.limits.body_bytes)

    async def _serve(self, scope: Scope, guarded: GuardedRequest) -> None:
        if scope["type"] == "websocket":
            await self._app(scope, guarded.receive, guarded.send)
            return
        service = self._service
        if scope["path"].startswith("/v1/"):
            service.admit()
        service.requests += 1
        service.metrics.running.inc()
        try:
            await self._app(scope, guarded.receive, guarded.send)
        finally:
            service.requests -= 1
            service.metrics.running.dec()

    async def _refuse(self, scope: Scope, guarded: GuardedRequest, error: ProtocolError) -> None:
        self._service.metrics.errors.labels(error.code).inc()
        if guarded.started:
            return
        kind = "websocket.http.response" if scope["type"] == "websocket" else "http.response"
        if scope["type"] == "websocket" and kind not in scope.get("extensions", {}):
            await guarded.send({"type": "websocket.close", "code": 1008, "reason": error.code})
            return
        body = error_body(error)
        await guarded.send({"type": f"{kind}.start", "status": error.status, "headers": [
            (b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()),
            *([(b"retry-after", b"1")] if error.status in (429, 503) else [])]})
        await guarded.send({"type": f"{kind}.body", "body": body})

    def _observe(self, scope: Scope, guarded: GuardedRequest) -> None:
        seconds, name = time.perf_counter() - guarded.at, route(scope)
        self._service.metrics.requests.labels(name, str(guarded.status)).inc()
        self._service.metrics.seconds.labels(name).observe(seconds)
        note("request", route=name, method=str(scope.get("method", "WEBSOCKET")), status=guarded.status, seconds=seconds,
             bytes_in=guarded.received)


def too_large(limit: int) -> ProtocolError:
    """Give the error of a request that is too large."""
    return ProtocolError(f"The request has more than {limit} bytes, which is as many as this server takes; send less.",
                         "request_too_large", status=413)


def error_body(error: ProtocolError) -> bytes:
    """Give an error as OpenAI's routes do."""
    body: JsonObject = {"error": error.body()}
    return json.dumps(body).encode()


def route(scope: MutableMapping[str, Any]) -> str:
    """Give the route of a request, for metrics and logs: nothing that a client chooses freely."""
    return scope["path"] if scope["path"] in ROUTES else "page"
