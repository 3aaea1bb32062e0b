"""Realtime conversations of the stock openai client with a real server: only the URL is changed."""

import asyncio
import base64
import io
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import numpy as np
import openai
import pytest
from openai.resources.realtime.realtime import AsyncRealtimeConnection
from PIL import Image
from servers import Running, running

import omnikit
from omnikit.contracts.types import Sample
from omnikit.inference.question import question
from omnikit.inference.session import Session

RATE = 24000
SECONDS = 20  # until a test gives up


@pytest.fixture(scope="module")
def server() -> "AsyncIterator[Running]":
    """A server whose turns are found by the energy of the audio, which a tone has."""
    with running(omnikit.build("llama_omni/tiny", ["live.vad={use: energy}"], device="cpu")) as server:
        yield server


def tone(seconds: float) -> bytes:
    wave = 0.4 * np.sin(np.arange(int(seconds * RATE)) * 0.05)
    return (wave * 32767).astype("<i2").tobytes()


def silence(seconds: float) -> bytes:
    return bytes(2 * int(seconds * RATE))


class Talk:
    """One conversation: sends, and collects events until one comes."""

    def __init__(self, connection: AsyncRealtimeConnection) -> None:
        self.connection = connection
        self.seen: list[object] = []

    async def send(self, event: dict[str, object]) -> None:
        await self.connection.send(event)

    async def until(self, kind: str) -> object:
        """Give the next event of a type; an error that is not waited for fails the test."""
        async with asyncio.timeout(SECONDS):
            while True:
                event = await self.connection.recv()
                self.seen.append(event)
                assert kind == "error" or event.type != "error", event
                if event.type == kind:
                    return event

    async def speak(self, audio: bytes, piece: float = 0.1) -> None:
        size = 2 * int(piece * RATE)
        for start in range(0, len(audio), size):
            data = base64.b64encode(audio[start:start + size]).decode()
            await self.send({"type": "input_audio_buffer.append", "audio": data})

    async def ask(self, text: str, **response: object) -> None:
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
        await self.send({"type": "conversation.item.create", "item": item})
        await self.send({"type": "response.create", "response": response})

    async def update(self, **session: object) -> None:
        await self.send({"type": "session.update", "session": {"type": "realtime", **session}})
        await self.until("session.updated")

    def types(self) -> list[str]:
        return [event.type for event in self.seen]

    def text(self) -> str:
        return "".join(event.delta for event in self.seen if event.type == "response.output_audio_transcript.delta")


@asynccontextmanager
async def talk(server: Running, key: str = "none") -> AsyncIterator[Talk]:
    async with server.async_client(key).realtime.connect(model="tiny") as connection:
        yield Talk(connection)


def converse(server: Running, test: Callable[[Talk], Awaitable[None]]) -> None:
    async def run() -> None:
        async with talk(server) as one:
            await test(one)

    asyncio.run(run())


def answer_text(session: Session, text: str) -> str:
    return session.answers([question(text=text)], speak=False, greedy=True)[0].text


def test_a_typed_question_is_answered_in_the_protocol_s_order(server: Running) -> None:
    async def test(one: Talk) -> None:
        await one.ask("How many?")
        done = await one.until("response.done")
        assert done.response.output[0].content[0].transcript == one.text() == answer_text(server.service.session, "How many?")
        kinds = list(dict.fromkeys(one.types()))
        assert kinds == [
            "session.created", "conversation.created", "conversation.item.added", "conversation.item.done", "response.created",
            "response.output_item.added", "response.content_part.added", "response.output_audio_transcript.delta",
            "response.output_audio.delta", "response.output_audio.done", "response.output_audio_transcript.done",
            "response.content_part.done", "response.output_item.done", "response.done"]

    converse(server, test)


def test_a_spoken_answer_names_its_tokens_by_modality(server: Running) -> None:
    async def test(one: Talk) -> None:
        await one.update(max_output_tokens=20)
        await one.speak(silence(0.5) + tone(1) + silence(1))
        usage = (await one.until("response.done")).response.usage
        given, prompt = usage.output_token_details, usage.input_token_details
        assert 0 < given.text_tokens <= 20 and given.text_tokens + given.audio_tokens == usage.output_tokens
        assert min(prompt.text_tokens, prompt.audio_tokens) > 0 and prompt.image_tokens == 0
        assert prompt.text_tokens + prompt.audio_tokens == usage.input_tokens

    converse(server, test)


def test_audio_tokens_of_an_answer_are_its_codes(server: Running) -> None:
    async def test(one: Talk) -> None:
        await one.ask("How many?")
        usage = (await one.until("response.done")).response.usage
        answer = server.service.session.answers([question(text="How many?")], greedy=True)[0]
        assert usage.output_token_details.audio_tokens == len(answer.codes) > 0

    converse(server, test)


def test_a_text_session_has_no_audio(server: Running) -> None:
    async def test(one: Talk) -> None:
        await one.update(output_modalities=["text"])
        await one.ask("How many?")
        done = await one.until("response.done")
        assert done.response.output[0].content[0].text == answer_text(server.service.session, "How many?")
        assert not [kind for kind in one.types() if "audio" in kind]

    converse(server, test)


def test_a_spoken_question_is_found_by_the_server_and_answered(server: Running) -> None:
    async def test(one: Talk) -> None:
        await one.speak(silence(0.5) + tone(1) + silence(1))
        started = await one.until("input_audio_buffer.speech_started")
        stopped = await one.until("input_audio_buffer.speech_stopped")
        committed = await one.until("input_audio_buffer.committed")
        await one.until("response.done")
        assert started.item_id == stopped.item_id == committed.item_id
        assert 100 <= started.audio_start_ms <= 500 and 1500 <= stopped.audio_end_ms <= 2300
        assert "response.output_audio.delta" in one.types()

    converse(server, test)


@pytest.mark.parametrize("kind", ["audio/pcmu", "audio/pcma"])
def test_telephone_audio_goes_both_ways(server: Running, kind: str) -> None:
    async def test(one: Talk) -> None:
        await one.update(audio={"input": {"format": {"type": kind}, "turn_detection": None},
                                "output": {"format": {"type": kind}}})
        await one.speak(bytes(range(256)) * 30)
        await one.send({"type": "input_audio_buffer.commit"})
        await one.send({"type": "response.create"})
        await one.until("response.done")
        audio = sum(len(base64.b64decode(event.delta)) for event in one.seen if event.type == "response.output_audio.delta")
        assert 8000 < audio < 80_000  # a byte a sample, 8 000 a second

    converse(server, test)


def test_turns_by_hand_are_transcribed_on_request(server: Running) -> None:
    async def test(one: Talk) -> None:
        await one.update(audio={"input": {"turn_detection": None, "transcription": {"model": "own"}}})
        await one.speak(tone(1))
        await one.send({"type": "input_audio_buffer.commit"})
        found = await one.until("conversation.item.input_audio_transcription.completed")
        assert found.usage.seconds == pytest.approx(1.0, abs=0.01)

    converse(server, test)


def long_answer() -> dict[str, object]:
    return {"max_output_tokens": 400}


def test_speech_during_an_answer_interrupts_it_and_is_answered(server: Running) -> None:
    async def test(one: Talk) -> None:
        await one.update(**long_answer())
        await one.ask("Count.")
        await one.until("response.output_audio.delta")
        await one.speak(tone(0.6))
        await one.until("input_audio_buffer.speech_started")
        done = await one.until("response.done")
        assert (done.response.status, done.response.status_details.reason) == ("cancelled", "turn_detected")
        assert 0 < done.response.usage.output_tokens < 400 + done.response.usage.output_token_details.audio_tokens
        before = len(one.seen)
        await one.update(max_output_tokens=8)
        await one.speak(silence(1))
        await one.until("response.created")
        await one.until("response.done")
        late = [event for event in one.seen[before:] if getattr(event, "response_id", None) == done.response.id]
        assert not late

    converse(server, test)


def test_events_that_came_during_a_step_are_processed_together(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, steps = server.service.model.engine, list[float]()

    def slow() -> bool:
        steps.append(time.monotonic())
        time.sleep(0.1)
        return True

    async def test(one: Talk) -> None:
        await one.update(audio={"input": {"turn_detection": None}})
        monkeypatch.setattr(engine, "step", slow)
        await one.speak(tone(1), piece=0.05)  # 20 events
        before = len(steps)
        await one.send({"type": "input_audio_buffer.commit"})
        await one.until("input_audio_buffer.committed")
        monkeypatch.undo()
        assert len(steps) - before <= 5

    converse(server, test)


@pytest.mark.parametrize("milliseconds", [0, 300, 10_000_000], ids=["nothing", "part", "more than there is"])
def test_a_finished_answer_is_truncated_to_what_was_played(server: Running, milliseconds: int) -> None:
    async def test(one: Talk) -> None:
        await one.update(audio={"input": {"turn_detection": None}})
        await one.ask("How many?")
        item = (await one.until("response.done")).response.output[0]
        bytes_given = sum(len(base64.b64decode(event.delta)) for event in one.seen
                          if event.type == "response.output_audio.delta")
        length = bytes_given // 2 * 1000 // RATE
        await one.send({"type": "conversation.item.truncate", "item_id": item.id, "content_index": 0,
                        "audio_end_ms": milliseconds})
        truncated = await one.until("conversation.item.truncated")
        await one.send({"type": "conversation.item.retrieve", "item_id": item.id})
        transcript = (await one.until("conversation.item.retrieved")).item.content[0].transcript
        assert truncated.audio_end_ms == min(milliseconds, length)
        full = item.content[0].transcript
        assert full.startswith(transcript)
        assert {0: transcript == "", 300: transcript != full, 10_000_000: transcript == full}[milliseconds]

    converse(server, test)


def test_an_answer_can_be_truncated_before_its_audio_and_while_it_is_made(server: Running) -> None:
    async def test(one: Talk) -> None:
        await one.update(**long_answer())
        await one.ask("Count.")
        item = (await one.until("response.output_item.added")).item
        await one.send({"type": "conversation.item.truncate", "item_id": item.id, "content_index": 0, "audio_end_ms": 0})
        done = await one.until("response.done")
        await one.until("conversation.item.truncated")
        assert done.response.status == "cancelled" and done.response.usage.output_token_details.text_tokens > 0
        await one.send({"type": "conversation.item.truncate", "item_id": "item_gone", "content_index": 0, "audio_end_ms": 0})
        assert (await one.until("error")).error.code == "item_truncate_invalid_item_id"

    converse(server, test)


def test_a_second_response_and_an_empty_commit_are_refused_while_the_first_goes_on(server: Running) -> None:
    async def test(one: Talk) -> None:
        await one.update(max_output_tokens=60)
        await one.ask("Count.")
        await one.until("response.created")
        for event, code in [({"type": "response.create"}, "conversation_already_has_active_response"),
                            ({"type": "input_audio_buffer.commit"}, "input_audio_buffer_commit_empty"),
                            ({"type": "response.wish"}, "invalid_value"),
                            ({"type": "input_audio_buffer.append", "audio": "?"}, "invalid_value")]:
            await one.send({**event, "event_id": "mine"})
            error = (await one.until("error")).error
            assert (error.code, error.event_id) == (code, "mine")
        assert (await one.until("response.done")).response.status == "incomplete"

    converse(server, test)


def test_an_answer_is_cancelled_by_the_client(server: Running) -> None:
    async def test(one: Talk) -> None:
        await one.update(**long_answer())
        await one.ask("Count.")
        await one.until("response.output_audio.delta")
        await one.send({"type": "response.cancel"})
        assert (await one.until("response.done")).response.status_details.reason == "client_cancelled"
        await one.ask("How many?", max_output_tokens=4)
        assert (await one.until("response.done")).response.status == "incomplete"

    converse(server, test)


def test_a_response_beside_the_conversation_leaves_no_item(server: Running) -> None:
    async def test(one: Talk) -> None:
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "How many?"}]}
        await one.send({"type": "response.create", "response": {"conversation": "none", "input": [item]}})
        done = await one.until("response.done")
        assert done.response.output[0].content[0].transcript == answer_text(server.service.session, "How many?")
        assert done.response.usage.output_tokens > 0 and done.response.conversation_id is None
        assert "conversation.item.added" not in one.types()

    converse(server, test)


def test_an_item_that_is_deleted_is_no_longer_part_of_the_prompt(server: Running) -> None:
    async def test(one: Talk) -> None:
        for name, text in [("a", "One"), ("b", "Two")]:
            item = {"id": name, "type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
            await one.send({"type": "conversation.item.create", "item": item, "previous_item_id": "root"})
        await one.send({"type": "conversation.item.delete", "item_id": "b"})
        await one.send({"type": "response.create"})
        await one.until("response.done")
        assert one.text() == answer_text(server.service.session, "One")

    converse(server, test)


def test_an_image_is_shown_to_a_model_with_vision(vision_server: Running) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(buffer, format="PNG")
    url = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    content = [{"type": "input_image", "image_url": url}, {"type": "input_text", "text": "What is it?"}]

    async def test(one: Talk) -> None:
        await one.send({"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": content}})
        await one.send({"type": "response.create"})
        assert (await one.until("response.done")).response.status in ("completed", "incomplete")

    converse(vision_server, test)


def test_an_image_before_a_spoken_question_is_in_its_message(vision_server: Running,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    engine, asked = vision_server.service.model.engine, list[Sample]()
    begin = engine.begin
    monkeypatch.setattr(engine, "begin", lambda sample, *rest: (asked.append(sample), begin(sample, *rest))[1])
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(buffer, format="PNG")
    shown = {"type": "input_image", "image_url": f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"}

    async def test(one: Talk) -> None:
        await one.update(audio={"input": {"turn_detection": None}}, max_output_tokens=4)
        await one.send({"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": [shown]}})
        await one.speak(tone(1))
        await one.send({"type": "input_audio_buffer.commit"})
        await one.send({"type": "response.create"})
        usage = (await one.until("response.done")).response.usage.input_token_details
        assert min(usage.image_tokens, usage.audio_tokens) > 0

    converse(vision_server, test)
    questions = [message for message in asked[-1].messages if message.role == "user"]
    assert [[part.type for part in message.content] for message in questions] == [["image", "audio"]]


def test_conversations_side_by_side_have_their_own_answers(server: Running) -> None:
    async def one_of(number: int) -> str:
        async with talk(server) as one:
            await one.update(output_modalities=["text"])
            await one.ask(f"The secret is {number * 37}")
            return (await one.until("response.done")).response.output[0].content[0].text

    async def run() -> list[str]:
        return await asyncio.gather(*map(one_of, range(16)))

    samples = [question(text=f"The secret is {number * 37}") for number in range(16)]
    assert asyncio.run(run()) == [answer.text for answer in server.service.session.answers(samples, speak=False, greedy=True)]


def test_a_session_too_many_is_refused(server: Running) -> None:
    async def run() -> None:
        async with server.async_client().realtime.connect(model="tiny") as connection:
            event = await connection.recv()
            assert event.type == "error" and event.error.code == "session_limit_reached"
            with pytest.raises(Exception, match="1013"):
                await connection.recv()

    server.service.sessions += server.service.limits.sessions
    try:
        asyncio.run(run())
    finally:
        server.service.sessions -= server.service.limits.sessions


def test_a_wrong_key_is_refused_before_the_socket_opens() -> None:
    with running(omnikit.build("vita/tiny", device="cpu"), keys=("right", "other")) as server:
        async def run(key: str) -> str:
            async with server.async_client(key).realtime.connect(model="tiny") as connection:
                return (await connection.recv()).type

        assert asyncio.run(run("other")) == "session.created"
        with pytest.raises(Exception, match="401"):
            asyncio.run(run("wrong"))
        with pytest.raises(openai.AuthenticationError, match="missing or wrong"):
            server.client("wrong").models.list()
        assert server.client("right").models.list().data


def test_with_semantic_vad_an_answer_goes_on_until_the_model_decides(server: Running) -> None:
    async def test(one: Talk) -> None:
        detection = {"type": "semantic_vad", "eagerness": "high"}
        await one.update(audio={"input": {"turn_detection": detection}}, max_output_tokens=400)
        await one.ask("Count.")
        await one.until("response.output_audio.delta")
        await one.speak(tone(0.6))
        await one.send({"type": "conversation.item.retrieve", "item_id": "item_gone"})
        await one.until("error")  # after the audio, and nothing of the speech before it
        assert "input_audio_buffer.speech_started" not in one.types()
        await one.speak(silence(1))
        await one.until("input_audio_buffer.speech_started")
        await one.until("input_audio_buffer.committed")
        await one.until("response.created")

    converse(server, test)
