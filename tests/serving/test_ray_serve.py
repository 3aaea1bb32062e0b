"""Two replicas of Ray Serve: the same routes, and a Realtime session that stays where it began."""

import asyncio
import json
import os
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING

import httpx
import pytest
import websockets

from omnikit.serving.address import Address
from omnikit.serving.ray_serve import deploy, shut_down
from omnikit.serving.settings import Limits, Settings

if TYPE_CHECKING:
    from fastapi import FastAPI

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    def build() -> "FastAPI":
        import omnikit
        from omnikit.inference.scheduler.batch import engine_for
        from omnikit.serving.app import create_app
        from omnikit.serving.service import Service

        session = omnikit.build("llama_omni/tiny", device="cpu")
        return create_app(Service(session, engine_for(session), Settings(f"replica {os.getpid()}")))

    deploy(build, 2, Limits(), Address(port=port))
    yield f"http://127.0.0.1:{port}"
    shut_down()


def test_both_replicas_answer(url: str) -> None:
    names = {httpx.get(f"{url}/v1/models", timeout=60).json()["data"][0]["id"] for _ in range(40)}
    body = {"messages": [{"role": "user", "content": "How many?"}], "max_tokens": 4}
    found = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60).json()
    assert len(names) == 2 and found["model"] in names


def test_realtime_sessions_stay_with_their_replica(url: str) -> None:
    async def talk() -> list[str]:
        models = []
        async with websockets.connect(f"{url.replace('http', 'ws')}/v1/realtime") as connection:
            for _ in range(4):
                await connection.send(json.dumps({"type": "session.update", "session": {"type": "realtime"}}))
            while len(models) < 5:
                event = json.loads(await asyncio.wait_for(connection.recv(), 60))
                models += [event["session"]["model"]] if "session" in event else []
        return models

    async def run() -> list[list[str]]:
        return await asyncio.gather(*(talk() for _ in range(6)))

    found = asyncio.run(run())
    assert all(len(set(models)) == 1 for models in found)
    assert len({models[0] for models in found}) == 2
