"""The example with OpenAI's client does what its page shows, but for the microphone in real time."""

import asyncio
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image
from servers import Running, wav

PATH = Path(__file__).parents[2] / "docs/examples/openai_client.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("openai_client", PATH)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line.split()[0] for line in capsys.readouterr().out.splitlines()]


def test_chat_is_asked_in_every_way(example: ModuleType, server: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                    capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "question.wav").write_bytes(wav())
    Image.new("RGB", (32, 32), "red").save(tmp_path / "image.png")
    example.chat(server.client(), tmp_path / "question.wav", tmp_path / "image.png")
    assert lines(capsys) == ["text", "audio", "streamed", "spoken", "refused"]  # this run takes no images
    assert (tmp_path / "answer.wav").read_bytes()[:4] == b"RIFF"


def test_answers_are_truncated(example: ModuleType, server: Running, capsys: pytest.CaptureFixture[str]) -> None:
    async def run() -> None:
        async with server.async_client().realtime.connect(model="tiny") as connection:
            await example.truncations(example.Talk(connection))

    asyncio.run(run())
    assert lines(capsys) == ["an", "beyond", "part", "earlier", "at", "unknown"]
