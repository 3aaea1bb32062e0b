"""A Realtime server as the model's side, over a WebSocket, in real time or by a factor faster."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from omnikit.errors import ConfigError, RunError
from omnikit.evaluation.duplex.conversation import FRAME_MS, PeerEvent, Samples
from omnikit.inference.text_alignment import Mark

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

RATE = 24000  # Hz, of both directions: audio/pcm
PATIENCE = 10.0  # seconds in which a server must answer a request
FULL_SCALE = 32768.0
TEXT = ("response.output_text.delta", "response.output_audio_transcript.delta")


class RealtimePeer:
    """One conversation on a connection of its own.

    Args:
        url: of the server: ws://127.0.0.1:8000/v1/realtime?model=….
        key: API key; None sends none.
        turn_detection: "server_vad" or "semantic_vad"; None leaves the server's own.
        speed: seconds of audio that are sent in a second.

    Raises:
        RunError: the server cannot be reached, or refuses the session.
    """

    rate = RATE

    def __init__(self, url: str, key: str | None, turn_detection: str | None, speed: float) -> None:
        self._socket = _connect(url, key)
        self._at, self._speed = 0, speed
        self._answers: dict[str, str] = {}  # response → its item
        self._interrupts = True
        session = self._wait("session.created")["session"]
        if turn_detection:
            detection = {"type": turn_detection, "create_response": True, "interrupt_response": True}
            self._send("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": detection}}})
            session = self._wait("session.updated")["session"]
        detection = ((session.get("audio") or {}).get("input") or {}).get("turn_detection") or {}
        self._interrupts = detection.get("interrupt_response") is not False
        self._start: float | None = None

    def push(self, frame: Samples) -> list[PeerEvent]:
        """Send 32 ms and wait until they are over; gives what came until then."""
        data = np.clip(np.round(frame.astype(np.float64) * FULL_SCALE), -32768, 32767).astype("<i2").tobytes()
        self._start = time.monotonic() if self._start is None else self._start
        self._send("input_audio_buffer.append", audio=base64.b64encode(data).decode())
        self._at += FRAME_MS
        end, found = self._start + self._at / 1000 / self._speed, list[PeerEvent]()
        while (message := self._receive(max(0.0, end - time.monotonic()))) is not None:
            found += self._events(message)
        return found

    def stopped(self, item: str, played_ms: int) -> None:
        """Truncate an answer's item where its playback was stopped, as a client of this protocol must."""
        self._send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=played_ms)

    def history(self, items: Sequence[str]) -> Mapping[str, str]:
        """Ask for each answer's item; one that the server does not give is left out."""
        found: dict[str, str] = {}
        for item in items:
            self._send("conversation.item.retrieve", item_id=item)
            message = self._wait("conversation.item.retrieved", "error")
            if message["type"] != "error":
                content = message["item"].get("content") or []
                found[item] = "".join(part.get("transcript") or part.get("text") or "" for part in content)
        return found

    def marks(self, items: Sequence[str]) -> Mapping[str, Sequence[Mark]]:
        """Give none: the protocol has none."""
        return {}

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    # ---- messages ----

    def _events(self, message: Mapping[str, Any]) -> list[PeerEvent]:
        """Give a server event as any model's side reports it."""
        kind, item, at = message["type"], message.get("item_id") or "", self._at
        if kind == "input_audio_buffer.speech_started":
            return [PeerEvent(at, "speech_started", item), *([PeerEvent(at, "interrupted")] if self._interrupts else [])]
        if kind == "input_audio_buffer.speech_stopped":
            return [PeerEvent(at, "speech_stopped", item)]
        if kind == "response.output_item.added" and message["item"].get("role") == "assistant":
            self._answers[message["response_id"]] = message["item"]["id"]
            return [PeerEvent(at, "answer_started", message["item"]["id"])]
        if kind in TEXT:
            return [PeerEvent(at, "text", item, message["delta"])]
        if kind == "response.output_audio.delta":
            audio = np.frombuffer(base64.b64decode(message["delta"]), dtype="<i2").astype(np.float32) / np.float32(FULL_SCALE)
            return [PeerEvent(at, "audio", item, audio=audio, rate=RATE)]
        if kind == "response.done":
            response = message["response"]
            answer = self._answers.get(response["id"])
            return [PeerEvent(at, "answer_done", answer, response.get("status") or "")] if answer else []
        return [PeerEvent(at, "error", "", str(message["error"].get("message")))] if kind == "error" else []

    def _send(self, kind: str, **fields: object) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            self._socket.send(json.dumps({"type": kind, **fields}))
        except ConnectionClosed as error:
            raise RunError(f"The Realtime server closed the connection: {error}; see its log.") from None

    def _receive(self, seconds: float) -> dict[str, Any] | None:
        """Give the next message; None where none comes within so many seconds."""
        from websockets.exceptions import ConnectionClosed

        try:
            found = json.loads(self._socket.recv(timeout=seconds))
        except TimeoutError:
            return None
        except ConnectionClosed as error:
            raise RunError(f"The Realtime server closed the connection: {error}; see its log.") from None
        except ValueError as error:
            raise RunError(f"The Realtime server sent what is not JSON: {error}.") from None
        if not isinstance(found, dict) or not isinstance(found.get("type"), str):
            raise RunError("The Realtime server sent a message without a type.")
        return found

    def _wait(self, *kinds: str) -> dict[str, Any]:
        """Give the next message of one of some types; others are ignored."""
        end = time.monotonic() + PATIENCE
        while (message := self._receive(max(0.0, end - time.monotonic()))) is not None:
            if message["type"] in kinds:
                return message
            if message["type"] == "error" and "error" not in kinds:
                raise RunError(f"The Realtime server refused: {message['error'].get('message')}")
        raise RunError(f"The Realtime server gave no {kinds[0]} within {PATIENCE:g} s.")


def _connect(url: str, key: str | None) -> ClientConnection:
    try:
        from websockets.exceptions import InvalidHandshake, InvalidURI
        from websockets.sync.client import connect
    except ImportError:
        raise ConfigError("websockets is not installed, which connects to Realtime servers; install omnikit[serve].") from None
    try:
        return connect(url, additional_headers={"Authorization": f"Bearer {key}"} if key else {}, max_size=None)
    except (OSError, InvalidHandshake, InvalidURI, TimeoutError) as error:
        raise RunError(f"{url} cannot be reached: {' '.join(str(error).split())}; start the server, or correct the URL."
                       ) from None
