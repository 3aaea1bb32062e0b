"""A real server in a thread of the test process, on a free port, around a tiny model with random weights."""

import asyncio
import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import numpy as np
import openai
import soundfile

from omnikit.inference.scheduler.batch import engine_for
from omnikit.inference.session import Session
from omnikit.serving.address import Address
from omnikit.serving.app import create_app
from omnikit.serving.server import Server, bind
from omnikit.serving.service import Service
from omnikit.serving.settings import Limits, Settings


@dataclass(frozen=True)
class Running:
    """A server that answers."""

    port: int
    service: Service
    server: Server

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def socket_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1/realtime?model=tiny"

    def client(self, key: str = "none") -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, timeout=60)

    def async_client(self, key: str = "none") -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, timeout=60)


@contextmanager
def running(session: Session, *, limits: Limits = Limits(), keys: tuple[str, ...] = ()) -> Iterator[Running]:  # noqa: B008
    """Serve until the block ends."""
    service = Service(session, engine_for(session), Settings("tiny", keys, (), limits))
    server = Server(create_app(service), service, Address(port=0))
    listener = bind(Address(port=0), limits.send_seconds)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = listener.getsockname()[1]
    try:
        yield Running(port, service, server)
    finally:
        server.should_exit = True
        thread.join(20)


def wav(seconds: float = 1.0, rate: int = 16000, channels: int = 1) -> bytes:
    """A tone as a WAV file."""
    buffer = io.BytesIO()
    tone = 0.3 * np.sin(np.arange(int(seconds * rate)) * 0.1)
    soundfile.write(buffer, np.repeat(tone[:, None], channels, 1), rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def metric(server: Running, name: str) -> float:
    """The value of a metric; 0 where it was never counted."""
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))
