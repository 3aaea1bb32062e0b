"""A plain client of a Realtime server: JSON over a WebSocket, and when each event came. It depends on no server."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np
import soxr
from numpy.typing import NDArray
from omnikit_espeak.config import Espeak
from websockets.asyncio.client import ClientConnection, connect

RATE = 24000
SECONDS = 300.0  # until a conversation gives up
AUDIO_DELTA = "response.output_audio.delta"


@dataclass(frozen=True)
class ServerEvent:
    """What came, and when, by time.perf_counter."""

    at: float
    content: dict[str, object]

    @property
    def kind(self) -> str:
        """Its type."""
        return str(self.content["type"])

    @property
    def audio_seconds(self) -> float:
        """Length of the audio that it holds."""
        return len(base64.b64decode(str(self.content["delta"]))) / 2 / RATE


@dataclass
class Conversation:
    """One conversation, and all events so far."""

    socket: ClientConnection
    events: list[ServerEvent] = field(default_factory=list)

    async def send(self, kind: str, **content: object) -> None:
        """Send an event."""
        await self.socket.send(json.dumps({"type": kind, **content}))

    async def receive(self) -> ServerEvent:
        """Give the next event."""
        text = await self.socket.recv()
        self.events.append(ServerEvent(time.perf_counter(), json.loads(text)))
        assert self.events[-1].kind != "error", text
        return self.events[-1]

    async def until(self, kind: str) -> ServerEvent:
        """Give the next event of a type."""
        async with asyncio.timeout(SECONDS):
            while True:
                event = await self.receive()
                if event.kind == kind:
                    return event

    async def ask(self, text: str, tokens: int) -> float:
        """Ask in writing for an answer of so many tokens at most; gives when."""
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
        await self.send("conversation.item.create", item=item)
        at = time.perf_counter()
        await self.send("response.create", response={"max_output_tokens": tokens})
        return at

    async def speak(self, audio: NDArray[np.float32], *, speed: float = 1.0, piece: float = 0.032) -> None:
        """Send audio [N] piece by piece as a microphone does, or `speed` times as fast."""
        size, start = int(piece * RATE), time.perf_counter()
        for begin in range(0, len(audio), size):
            await asyncio.sleep(max(start + begin / RATE / speed - time.perf_counter(), 0))
            await self.send("input_audio_buffer.append", audio=base64.b64encode(pcm(audio[begin:begin + size])).decode())


@asynccontextmanager
async def conversation(url: str, **session: object) -> AsyncIterator[Conversation]:
    """Open a conversation, with a configuration where one is given."""
    async with connect(url, max_size=None, compression=None) as socket:
        made = Conversation(socket)
        await made.until("session.created")
        if session:
            await made.send("session.update", session={"type": "realtime", **session})
            await made.until("session.updated")
        yield made


def spoken(text: str) -> NDArray[np.float32]:
    """Give a text as audio of a client, with the silence that ends a turn."""
    audio, rate = Espeak().build().speak(text)
    return np.concatenate([soxr.resample(audio, rate, RATE), np.zeros(RATE, np.float32)])


def pcm(audio: NDArray[np.float32]) -> bytes:
    """Give audio as 16 bits a sample."""
    return (np.clip(audio, -1, 1) * 32767).astype("<i2").tobytes()
