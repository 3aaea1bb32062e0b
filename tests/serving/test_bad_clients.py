"""Clients that err, flood, stall or die: each gets its error, and a conversation beside it goes on."""

import asyncio
import base64
import json
import logging
import signal
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress

import httpx
import openai
import pytest
import websockets
from servers import Running, running
from websockets.asyncio.client import ClientConnection

from omnikit.inference.session import Session
from omnikit.serving.logs import JsonLines
from omnikit.serving.settings import Limits

SECONDS = 20  # until a test gives up
SMALL = 16_384  # bytes of a socket's buffer
TEXT = [{"role": "user", "content": "How many?"}]
Act = Callable[[ClientConnection], Awaitable[None]]


@pytest.fixture(scope="module")
def strict(spoken: Session) -> Iterator[Running]:
    """A server with small limits."""
    limits = Limits(sessions=4, requests=4, body_bytes=100_000, message_bytes=50_000, pending_bytes=300_000, send_seconds=2.0,
                    drain_seconds=10.0, requests_per_minute=100_000)
    with running(spoken, limits=limits) as server:
        yield server


async def until(connection: ClientConnection, kind: str) -> dict[str, object]:
    async with asyncio.timeout(SECONDS):
        while True:
            event: dict[str, object] = json.loads(await connection.recv())
            if event["type"] == kind:
                return event


async def say(connection: ClientConnection, **event: object) -> None:
    await connection.send(json.dumps(event))


async def ask(connection: ClientConnection, tokens: int) -> None:
    content = [{"type": "input_text", "text": "How many?"}]
    await say(connection, type="conversation.item.create", item={"type": "message", "role": "user", "content": content})
    await say(connection, type="response.create", response={"max_output_tokens": tokens})


def beside(server: Running, act: Act) -> None:
    """Let one client act while another has a good conversation."""
    async def run() -> None:
        async with websockets.connect(server.socket_url) as good:
            await until(good, "session.created")
            await ask(good, 12)
            with suppress(websockets.ConnectionClosed):
                async with websockets.connect(server.socket_url) as bad:
                    await until(bad, "session.created")
                    await act(bad)
            assert (await until(good, "response.done"))["response"]["status"] == "incomplete"  # type: ignore[index]
            await ask(good, 4)
            await until(good, "response.done")

    asyncio.run(run())


BAD = {
    "malformed JSON": ('{"type": "response.create"', "invalid_json"),
    "a list": ("[]", "invalid_json"),
    "deep": ('{"type":' + "[" * 200 + "]" * 200 + "}", "invalid_json"),
    "binary": (b"\x00\xff\x01", "invalid_json"),
    "unknown type": ('{"type": "no.such.event"}', "invalid_value"),
    "wrong base64": ('{"type": "input_audio_buffer.append", "audio": "%%%"}', "invalid_value"),
    "wrong rate": ('{"type": "session.update", "session": {"type": "realtime", "audio": {"input": {"format": {"type":'
                   ' "audio/pcm", "rate": 44100}}}}}', "invalid_value"),
    "empty commit": ('{"type": "input_audio_buffer.commit"}', "input_audio_buffer_commit_empty"),
    "nothing to answer": ('{"type": "response.create"}', "invalid_value"),
    "too large": ("x" * 60_000, "message_too_large"),
    "half a surrogate": ('{"type": "response.cancel", "response_id": "\\ud800"}', "invalid_value"),
}


@pytest.mark.parametrize(("message", "code"), BAD.values(), ids=BAD)
def test_a_bad_message_gets_its_error_and_the_session_goes_on(strict: Running, message: str | bytes, code: str) -> None:
    async def act(connection: ClientConnection) -> None:
        await connection.send(message)
        assert (await until(connection, "error"))["error"]["code"] == code  # type: ignore[index]
        await ask(connection, 4)
        await until(connection, "response.done")

    beside(strict, act)


async def kill(connection: ClientConnection) -> None:
    connection.transport.abort()


async def before_anything(connection: ClientConnection) -> None:
    await kill(connection)


async def while_speaking(connection: ClientConnection) -> None:
    await say(connection, type="input_audio_buffer.append", audio=base64.b64encode(bytes(24000)).decode())
    await kill(connection)


async def while_thinking(connection: ClientConnection) -> None:
    await ask(connection, 400)
    await kill(connection)


async def while_answering(connection: ClientConnection) -> None:
    await ask(connection, 400)
    await until(connection, "response.output_audio.delta")
    await kill(connection)


KILLED = (before_anything, while_speaking, while_thinking, while_answering)


@pytest.mark.parametrize("act", KILLED, ids=lambda act: act.__name__)
def test_a_killed_client_leaves_nothing_behind(strict: Running, act: Act) -> None:
    beside(strict, act)
    wait_for(lambda: strict.service.sessions == 0 and not strict.service.model._watchers)
    assert not strict.service.model.engine.step()  # no answer goes on


def wait_for(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < end, "gave up waiting"
        time.sleep(0.02)


def test_a_client_that_stops_reading_is_dropped(strict: Running) -> None:
    strict.server.servers[0].sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)  # accepted sockets have it too

    async def act(connection: ClientConnection) -> None:
        audio = base64.b64encode(bytes(30_000)).decode()
        item = {"id": "large", "type": "message", "role": "user", "content": [{"type": "input_audio", "audio": audio}]}
        await say(connection, type="conversation.item.create", item=item)
        connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        connection.transport.pause_reading()
        while strict.service.sessions > 1:  # the answers, 40 KB each, fill the buffers of the sockets first
            with suppress(websockets.ConnectionClosed):
                await say(connection, type="conversation.item.retrieve", item_id="large")
            await asyncio.sleep(0.001)  # the conversation beside it shares this loop, and must not stop reading too
        connection.transport.abort()  # its closing would wait for what it does not read

    beside(strict, act)
    wait_for(lambda: strict.service.sessions == 0)


def test_a_session_ends_when_its_time_is_over(spoken: Session) -> None:
    async def run(url: str) -> None:
        async with websockets.connect(url) as connection:
            assert (await until(connection, "error"))["error"]["code"] == "session_expired"  # type: ignore[index]
            with pytest.raises(websockets.ConnectionClosed):
                await connection.recv()

    with running(spoken, limits=Limits(session_seconds=0.5)) as server:
        asyncio.run(run(server.socket_url))


def test_a_flood_of_messages_is_slowed_down(strict: Running) -> None:
    async def act(connection: ClientConnection) -> None:
        for _ in range(500):
            await connection.send("{")
        for _ in range(500):
            await until(connection, "error")

    beside(strict, act)


def test_a_body_too_large_is_refused(strict: Running) -> None:
    with pytest.raises(openai.APIStatusError, match="more than 100000 bytes") as caught:
        strict.client().chat.completions.create(model="tiny", messages=[{"role": "user", "content": "x" * 200_000}])
    assert caught.value.status_code == 413


def test_a_body_too_large_without_a_length_is_refused(strict: Running) -> None:
    found = httpx.post(f"{strict.url}/v1/chat/completions", content=(b" " * 10_000 for _ in range(20)))
    assert (found.status_code, found.json()["error"]["code"]) == (413, "request_too_large")


def test_a_stream_whose_reader_is_gone_is_cancelled(strict: Running) -> None:
    body = {"messages": TEXT, "stream": True, "max_tokens": 400}
    with httpx.stream("POST", f"{strict.url}/v1/chat/completions", json=body) as response:
        next(response.iter_lines())
    wait_for(lambda: strict.service.requests == 0)
    assert not strict.service.model.engine.step()


def test_a_request_whose_client_is_gone_is_cancelled(strict: Running) -> None:
    body = json.dumps({"messages": TEXT, "max_tokens": 400})
    with socket.create_connection(("127.0.0.1", strict.port)) as connection:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(f"{head}{body}".encode())
        wait_for(lambda: strict.service.requests == 1)
    wait_for(lambda: strict.service.requests == 0)
    assert not strict.service.model.engine.step()


def test_requests_too_many_are_refused(strict: Running) -> None:
    strict.service.requests += 4
    try:
        with pytest.raises(openai.InternalServerError, match="4 requests are being answered"):
            strict.client().chat.completions.create(model="tiny", messages=TEXT)
    finally:
        strict.service.requests -= 4


@pytest.mark.parametrize("path", ["/%2e%2e/%2e%2e/etc/passwd", "/page/../server.py", "/__init__.py", "/docs", "/openapi.json"])
def test_only_the_page_s_own_files_are_given(strict: Running, path: str) -> None:
    found = httpx.get(f"{strict.url}{path}")
    assert found.status_code == 404 and found.json()["error"]["code"] == "not_found"


def test_the_page_may_fetch_nothing_from_elsewhere(strict: Running) -> None:
    found = httpx.get(strict.url)
    assert found.status_code == 200 and "default-src 'none'" in found.headers["Content-Security-Policy"]
    assert "http://" not in found.text and "https://" not in found.text


def test_pages_of_other_origins_are_refused(strict: Running) -> None:
    found = httpx.post(f"{strict.url}/v1/chat/completions", json={"messages": TEXT}, headers={"Origin": "https://evil.example"})
    assert (found.status_code, found.json()["error"]["code"]) == (403, "origin_not_allowed")

    async def run() -> None:
        async with websockets.connect(strict.socket_url, origin="https://evil.example"):  # type: ignore[arg-type]
            pass

    with pytest.raises(websockets.InvalidStatus, match="403"):
        asyncio.run(run())


def test_logs_hold_no_text(strict: Running, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "omnikit.serving"):
        strict.client().chat.completions.create(model="tiny", messages=[{"role": "user", "content": "my secret"}], max_tokens=2)
        wait_for(lambda: "request" in caplog.messages)
    assert "secret" not in json.dumps([record.__dict__.get("fields") for record in caplog.records])


def test_other_parts_log_no_values() -> None:
    record = logging.LogRecord("omnikit.inference", logging.WARNING, "", 0, "The speech of %r was cut.", ("my secret",), None)
    assert json.loads(JsonLines().format(record))["message"] == "The speech of %r was cut."


def test_draining_lets_running_answers_end_and_refuses_new_ones(spoken: Session) -> None:
    with running(spoken) as server:
        found: list[int] = []

        def long_request() -> None:
            answer = server.client().chat.completions.create(model="tiny", messages=TEXT, max_tokens=150)
            found.append(answer.usage.completion_tokens if answer.usage else 0)

        thread = threading.Thread(target=long_request)
        thread.start()
        wait_for(lambda: server.service.requests == 1)
        loop = server.server.servers[0].get_loop()
        loop.call_soon_threadsafe(server.server.handle_exit, signal.SIGTERM, None)
        wait_for(lambda: server.service.draining)
        assert httpx.get(f"{server.url}/ready").status_code == 503
        with pytest.raises(openai.InternalServerError, match="being stopped"):
            server.client().chat.completions.create(model="tiny", messages=TEXT)
        thread.join(SECONDS)
        assert found == [150]
        wait_for(lambda: server.server.should_exit)


def test_a_failed_model_is_reported_and_no_request_waits_for_ever(spoken: Session) -> None:
    with running(spoken) as server:
        def fail() -> bool:
            raise ZeroDivisionError

        server.service.model.engine.step = fail  # type: ignore[method-assign]
        with pytest.raises(openai.InternalServerError, match="The model has failed"):
            server.client().chat.completions.create(model="tiny", messages=TEXT)
        assert httpx.get(f"{server.url}/health").status_code == 500
