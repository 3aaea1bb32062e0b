"""/v1/realtime: one live session for each WebSocket; whatever a client does, it is alone with it."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from fastapi import APIRouter, WebSocket
from fastapi.concurrency import run_in_threadpool
from starlette.websockets import WebSocketDisconnect, WebSocketState

from omnikit.errors import OmnikitError
from omnikit.inference.live.session import LiveSession
from omnikit.serving.access import Bucket
from omnikit.serving.errors import protocol_error
from omnikit.serving.live_bridge import LiveBridge
from omnikit.serving.logs import log, note
from omnikit.serving.protocol import server_events
from omnikit.serving.protocol.client_events import ClientEventError, ClientMessage, parse_event
from omnikit.serving.protocol.fields import JsonObject, ProtocolError
from omnikit.serving.protocol.live_conversation import random_id
from omnikit.serving.protocol.session_config import SessionConfig
from omnikit.serving.service import Service

MOST_EVENTS = 16  # of a client that wait for the model's thread
LARGE = 64 * 1024  # characters of a message that is parsed beside the event loop
TRY_AGAIN, GOING_AWAY, NORMAL = 1013, 1001, 1000  # close codes, RFC 6455 and its registry


class Outbox:
    """Owns the events that a client has not got; the model's thread puts them in, the event loop takes them out."""

    def __init__(self, limit: int) -> None:
        self._limit, self._loop = limit, asyncio.get_running_loop()
        self._texts: deque[str] = deque()
        self._waiting, self._bytes = asyncio.Event(), 0
        self.full = False

    def put(self, found: list[JsonObject]) -> None:
        """Take events, in any thread; a client that has too many of them gets no more."""
        for event in found:
            text = json.dumps(event)
            self._bytes += len(text)
            self.full = self.full or self._bytes > self._limit
            if not self.full:
                self._texts.append(text)
        if found and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._waiting.set)

    async def take(self) -> list[str]:
        """Give what waits, as soon as there is something."""
        await self._waiting.wait()
        self._waiting.clear()
        found = [self._texts.popleft() for _ in range(len(self._texts))]
        self._bytes -= sum(map(len, found))
        return found


class Connection:
    """One client: what it sends goes to the model's thread in order; what comes back is sent."""

    def __init__(self, service: Service, socket: WebSocket) -> None:
        self._service, self._socket = service, socket
        self._outbox = Outbox(service.limits.pending_bytes)
        self._bucket = Bucket(service.limits.messages_per_second, service.limits.messages_per_second)
        self._inbox: deque[ClientMessage] = deque()  # that the model's thread has not taken
        self._is_queued, self._handling = False, Future[None]()  # whether it will take them, and when it has
        self._bridge: LiveBridge | None = None
        self._watcher: Callable[[], None] | None = None

    async def run(self) -> None:
        """Serve until the client goes, or its time is over."""
        await self._service.model.call(self._open)
        sender = asyncio.create_task(self._send())
        try:
            async with asyncio.timeout(self._service.limits.session_seconds):
                receiver = asyncio.create_task(self._receive())
                await asyncio.wait({receiver, sender}, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            limit = self._service.limits.session_seconds
            await self._end(ProtocolError(f"The session has lasted {limit:g} s, which is as long as one may; begin another.",
                                          "session_expired"), NORMAL)
        finally:
            for task in (sender, receiver):
                task.cancel()
            await asyncio.gather(sender, receiver, return_exceptions=True)
            await asyncio.shield(self._service.model.call(self._close))

    def _open(self) -> None:
        """Begin the conversation, in the model's thread."""
        service = self._service
        live = LiveSession(service.session, service.model.engine)
        config = SessionConfig(service.settings.name, "audio" if service.can_speak else "text", service.can_speak)
        self._bridge = LiveBridge(service, live, config, self._outbox.put)
        self._outbox.put(self._bridge.wire.begin())
        self._watcher = self._advance
        service.model.watch(self._watcher)

    def _close(self) -> None:
        if self._watcher:
            self._service.model.unwatch(self._watcher)
        if self._bridge:
            self._bridge.close()

    def _advance(self) -> None:
        """Give what is ready after a step; a bug in one conversation ends that one."""
        assert self._bridge, "the conversation was begun"
        try:
            self._bridge.advance()
        except Exception as error:  # the other conversations go on
            self._failed(error)

    def _handle_all(self) -> None:
        """Take what the client has sent since the last step, in the model's thread."""
        self._is_queued = False  # first, so that what comes from now on is queued again
        for _ in range(len(self._inbox)):
            self._handle(self._inbox.popleft())

    def _handle(self, received: ClientMessage) -> None:
        """Take a client's event, in the model's thread."""
        assert self._bridge, "the conversation was begun"
        try:
            self._outbox.put(self._bridge.wire.handle(received))
            self._bridge.advance()
        except Exception as error:  # a bug of ours ends this session alone
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        found = protocol_error(error) if isinstance(error, OmnikitError) else ProtocolError(
            "The session has a problem; the server's log has more.", "server_error", kind="server_error")
        if not isinstance(error, OmnikitError):
            log.error("A Realtime session has failed.", exc_info=error)
        assert self._bridge, "the conversation was begun"
        self._outbox.put(self._bridge.wire.failed(found))

    async def _receive(self) -> None:
        limit = self._service.limits.message_bytes
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if (seconds := self._bucket.take()) > 0:
                await asyncio.sleep(seconds)
            text = message.get("text")
            data: str | bytes = message.get("bytes") or b"" if text is None else text
            try:
                received = await run_in_threadpool(parse_event, data, limit) if len(data) > LARGE else parse_event(data, limit)
                await self._hand_over(received)
            except ClientEventError as error:
                self._refuse(error, error.event_id)
            except ProtocolError as error:
                self._refuse(error, None)

    async def _hand_over(self, received: ClientMessage) -> None:
        """Leave an event to the model's thread, which takes all that came since its last step; waits where many are left."""
        self._inbox.append(received)
        if not self._is_queued:
            self._is_queued = True
            try:
                self._handling = self._service.model.submit(self._handle_all)
            except ProtocolError:
                self._is_queued = False
                self._inbox.clear()
                raise
        if len(self._inbox) >= MOST_EVENTS:
            await asyncio.wrap_future(self._handling)

    def _refuse(self, error: ProtocolError, event_id: str | None) -> None:
        self._service.metrics.errors.labels(error.code).inc()
        self._outbox.put([{"event_id": random_id("event"), **server_events.error(error, event_id)}])

    async def _send(self) -> None:
        while True:
            for text in await self._outbox.take():
                await self._socket.send_text(text)
            if self._outbox.full:
                note("client reads too slowly", route="/v1/realtime")
                await self._end(ProtocolError("More events wait for this client than the server keeps; read them faster.",
                                              "client_too_slow"), TRY_AGAIN)
                return

    async def _end(self, error: ProtocolError, code: int) -> None:
        await refuse(self._socket, error, code)


async def refuse(socket: WebSocket, error: ProtocolError, code: int) -> None:
    """Send an error and close."""
    if socket.application_state is WebSocketState.CONNECTED and socket.client_state is WebSocketState.CONNECTED:
        await socket.send_text(json.dumps({"event_id": random_id("event"), **server_events.error(error)}))
        await socket.close(code, error.code)


def realtime_routes(service: Service) -> APIRouter:
    """Give the route."""
    router = APIRouter()

    @router.websocket("/v1/realtime")
    async def realtime(socket: WebSocket) -> None:
        offered = socket.headers.get("sec-websocket-protocol", "")
        await socket.accept("realtime" if "realtime" in [name.strip() for name in offered.split(",")] else None)
        if service.draining or service.sessions >= service.limits.sessions:
            reason = ("The server is being stopped" if service.draining else
                      f"{service.limits.sessions} sessions are open, which is as many as this server takes")
            await refuse(socket, ProtocolError(f"{reason}; try again in a moment.", "session_limit_reached",
                                               kind="server_error"), TRY_AGAIN)
            return
        service.sessions += 1
        service.metrics.sessions.inc()
        start = time.perf_counter()
        try:
            await Connection(service, socket).run()
        except WebSocketDisconnect:
            pass
        finally:
            service.sessions -= 1
            service.metrics.sessions.dec()
            note("session ended", seconds=time.perf_counter() - start)

    return router
