"""uvicorn with a graceful end: running answers may end before the sockets close."""

from __future__ import annotations

import asyncio
import signal
import socket
from types import FrameType

import uvicorn
from fastapi import FastAPI

from omnikit.errors import RunError
from omnikit.serving.address import Address
from omnikit.serving.logs import note
from omnikit.serving.service import Service

POLL_SECONDS = 0.05


def bind(address: Address, unread_seconds: float) -> socket.socket:
    """Give a socket for a server; the system ends connections whose client leaves data unread for so long.

    Raises:
        RunError: the port is used or not allowed, or there is no such address.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio sends at once only where it reads TCP
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(unread_seconds * 1000))
        listener.bind((address.host, address.port))
    except OSError as error:
        listener.close()
        raise RunError(f"{address.host}:{address.port} cannot be listened on ({error.strerror or error}); choose another"
                       " --host or --port.") from None
    return listener


class Server(uvicorn.Server):
    """The first SIGTERM or SIGINT refuses new requests and waits for those that run; the second ends at once."""

    def __init__(self, app: FastAPI, service: Service, address: Address) -> None:
        super().__init__(uvicorn.Config(
            app, host=address.host, port=address.port, log_config=None, access_log=False, ws="websockets-sansio",
            ws_max_size=2 * service.limits.message_bytes, ws_ping_interval=20.0, ws_ping_timeout=20.0,
            ws_per_message_deflate=False, server_header=False, proxy_headers=False, timeout_keep_alive=30,
            timeout_graceful_shutdown=5, h11_max_incomplete_event_size=1 << 16,
            ssl_certfile=str(address.certificate) if address.certificate else None,
            ssl_keyfile=str(address.key) if address.key else None))
        self._service = service
        self._draining: asyncio.Task[None] | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain; a second signal ends at once."""
        if self._service.draining:
            super().handle_exit(sig, frame)
            return
        self._service.draining = True
        note("draining", signal=signal.Signals(sig).name, requests=self._service.requests, sessions=self._service.sessions)
        asyncio.get_running_loop().call_soon_threadsafe(self._start_draining)

    def _start_draining(self) -> None:
        self._draining = asyncio.ensure_future(self._drain())

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + self._service.limits.drain_seconds
        while not self._service.idle and loop.time() < end:
            await asyncio.sleep(POLL_SECONDS)
        self.should_exit = True
