"""OpenAI's own Python client against a served run: only the URL is changed.

python openai_client.py http://127.0.0.1:8000/v1 question.wav [image.png]        (the question: mono, 16 bits, 24 000 Hz)
"""

import asyncio
import base64
import sys
import wave
from pathlib import Path
from typing import Any

from openai import APIStatusError, AsyncOpenAI, OpenAI

RATE = 24000  # Hz, of audio/pcm
PIECE = RATE // 10 * 2  # bytes of 100 ms
TEXT = "zero plus seven"
IMAGE_TEXT = "which color do you see"


def encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def chat(client: OpenAI, question: Path, image: Path | None) -> None:
    """Ask by text, by audio and about an image; take the answer at once, as a stream, and spoken."""
    model = client.models.list().data[0].id
    written: Any = [{"role": "user", "content": TEXT}]
    audio = {"type": "input_audio", "input_audio": {"data": encoded(question), "format": "wav"}}
    spoken: Any = [{"role": "user", "content": [audio]}]

    answer = client.chat.completions.create(model=model, messages=written, modalities=["text"])
    print("text    ", answer.choices[0].message.content)
    answer = client.chat.completions.create(model=model, messages=spoken, modalities=["text"])
    print("audio   ", answer.choices[0].message.content)
    stream = client.chat.completions.create(model=model, messages=written, modalities=["text"], stream=True)
    print("streamed", [chunk.choices[0].delta.content for chunk in stream if chunk.choices and chunk.choices[0].delta.content])
    try:
        answer = client.chat.completions.create(model=model, messages=written, modalities=["text", "audio"],
                                                audio={"voice": "default", "format": "wav"})
        found = answer.choices[0].message.audio
        Path("answer.wav").write_bytes(base64.b64decode(found.data) if found else b"")
        print("spoken  ", found.transcript if found else None, "(answer.wav)")
        if image is not None:
            parts = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{encoded(image)}"}},
                     {"type": "text", "text": IMAGE_TEXT}]
            asked: Any = [{"role": "user", "content": parts}]
            answer = client.chat.completions.create(model=model, messages=asked, modalities=["text"])
            print("image   ", answer.choices[0].message.content)
    except APIStatusError as error:  # a run without speech or vision
        print("refused ", error.code, "-", error.body)


class Talk:
    """One Realtime conversation."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.milliseconds: dict[str, float] = {}  # item → its audio

    async def until(self, *kinds: str) -> Any:
        """Give the next event of these types."""
        async for event in self.connection:
            if event.type == "response.output_audio.delta":
                length = len(base64.b64decode(event.delta)) / 2 / RATE * 1000
                self.milliseconds[event.item_id] = self.milliseconds.get(event.item_id, 0) + length
            if event.type in kinds:
                return event
        raise RuntimeError("The server has closed the connection.")

    async def speak(self, audio: bytes) -> None:
        """Send audio as a microphone does, in real time."""
        for start in range(0, len(audio), PIECE):
            piece = base64.b64encode(audio[start:start + PIECE]).decode()
            await self.connection.input_audio_buffer.append(audio=piece)
            await asyncio.sleep(0.1)

    async def ask(self) -> str:
        """Ask in writing; gives the answer's item when it is complete."""
        await self.connection.conversation.item.create(
            item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": TEXT}]})
        await self.connection.response.create()
        done = await self.until("response.done")
        return str(done.response.output[0].id)

    async def truncate(self, item: str, milliseconds: int) -> str:
        """Truncate an answer; gives where it ends and what is left of it, or the error."""
        await self.connection.conversation.item.truncate(item_id=item, content_index=0, audio_end_ms=milliseconds)
        found = await self.until("conversation.item.truncated", "error")
        if found.type == "error":
            return f"error {found.error.code}"
        return f"ends at {found.audio_end_ms} ms: {await self.transcript(item)!r}"

    async def transcript(self, item: str) -> str:
        await self.connection.conversation.item.retrieve(item_id=item)
        return str((await self.until("conversation.item.retrieved")).item.content[0].transcript)


async def interrupt(talk: Talk, question: bytes) -> None:
    """Ask by voice, and again while the answer plays."""
    silence = bytes(PIECE) * 8
    await talk.speak(question + silence)
    first = await talk.until("response.output_audio.delta")
    await asyncio.sleep(0.7)
    speaking = asyncio.create_task(talk.speak(question + silence))
    await talk.until("input_audio_buffer.speech_started")
    print("barge-in", await talk.truncate(first.item_id, 700))
    done = await talk.until("response.done")
    await speaking
    print("answer  ", done.response.output[0].content[0].transcript)


async def truncations(talk: Talk) -> None:
    """Truncate a finished answer to nothing, to a part and beyond its end; one that is being made; one of long ago."""
    item = await talk.ask()
    print(f"an answer of {talk.milliseconds[item]:.0f} ms: {await talk.transcript(item)!r}")
    print("beyond  ", await talk.truncate(item, 10_000_000))
    print("part    ", await talk.truncate(item, 700))
    later = await talk.ask()
    print("earlier ", await talk.truncate(item, 0), "- the later one:", repr(await talk.transcript(later)))
    await talk.connection.conversation.item.create(
        item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": TEXT}]})
    await talk.connection.response.create()
    begun = (await talk.until("response.output_item.added")).item.id
    await talk.connection.conversation.item.truncate(item_id=begun, content_index=0, audio_end_ms=0)
    done = await talk.until("response.done")
    print("at once ", done.response.status, repr(await talk.transcript(begun)), "tokens:", done.response.usage.output_tokens)
    print("unknown ", await talk.truncate("item_unknown", 0))


async def realtime(client: AsyncOpenAI, question: Path) -> None:
    """Talk with the server's voice activity detection."""
    with wave.open(str(question)) as file:
        audio = file.readframes(file.getnframes())
    for part in (lambda talk: interrupt(talk, audio), truncations):
        async with client.realtime.connect(model="omnikit") as connection:
            await part(Talk(connection))


if __name__ == "__main__":
    url, wav = sys.argv[1], Path(sys.argv[2])
    chat(OpenAI(base_url=url, api_key="none"), wav, Path(sys.argv[3]) if len(sys.argv) > 3 else None)
    asyncio.run(realtime(AsyncOpenAI(base_url=url, api_key="none"), wav))
