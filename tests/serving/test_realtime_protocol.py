"""The Realtime state machine with a scripted conversation; checked by the openai package's own types."""

import base64
import json
import random
from itertools import count

import pytest
from openai.types.realtime import RealtimeResponseUsage, RealtimeServerEvent
from pydantic import TypeAdapter

from omnikit.errors import DataError
from omnikit.inference.answer_usage import AnswerUsage, TokenCounts
from omnikit.serving.protocol.client_events import PARSERS, ClientEventError, CreateResponse, parse_event
from omnikit.serving.protocol.fields import Json, JsonObject
from omnikit.serving.protocol.items import Item
from omnikit.serving.protocol.realtime_session import RealtimeSession
from omnikit.serving.protocol.response import Ending
from omnikit.serving.protocol.session_config import SessionConfig

OFFICIAL: TypeAdapter[RealtimeServerEvent] = TypeAdapter(RealtimeServerEvent)
LIMIT = 1 << 20
USAGE = AnswerUsage(TokenCounts(5, 40, 16), TokenCounts(4, 0, 16), TokenCounts(3, 30))
GIVEN = {  # every field of openai's RealtimeResponseUsage
    "total_tokens": 94, "input_tokens": 61, "output_tokens": 33,
    "input_token_details": {"text_tokens": 5, "audio_tokens": 40, "image_tokens": 16, "cached_tokens": 20,
                            "cached_tokens_details": {"text_tokens": 4, "audio_tokens": 0, "image_tokens": 16}},
    "output_token_details": {"text_tokens": 3, "audio_tokens": 30}}
SECOND = bytes(48000)
IMAGE = "data:image/png;base64,iVBORw0KGgo="


class FakeConversation:
    """Records what the session asks for."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.refusal: str | None = None

    def configure(self, config: SessionConfig) -> None:
        self.calls.append("configure")

    def push(self, audio: bytes) -> None:
        self.calls.append(f"push {len(audio)}")

    def clear(self) -> None:
        self.calls.append("clear")

    def commit(self) -> None:
        self.calls.append("commit")

    def insert(self, item: Item, previous: str | None) -> None:
        if self.refusal:
            raise DataError(self.refusal)
        self.calls.append(f"insert {item.role}")

    def delete(self, item_id: str) -> None:
        self.calls.append(f"delete {item_id}")

    def respond(self, asked: CreateResponse, config: SessionConfig) -> None:
        if self.refusal:
            raise DataError(self.refusal)
        self.calls.append("respond")

    def cancel(self) -> AnswerUsage:
        self.calls.append("cancel")
        return USAGE

    def truncate(self, item_id: str, milliseconds: int) -> str:
        self.calls.append(f"truncate {milliseconds}")
        return f"played {milliseconds}"


class Client:
    """One session; every event that it gives is checked by the openai package."""

    def __init__(self, **config: object) -> None:
        numbers = count()
        self.fake = FakeConversation()
        self.session = RealtimeSession(SessionConfig("tiny", **config), self.fake, lambda prefix: f"{prefix}_{next(numbers)}")

    def send(self, event: JsonObject | str) -> list[JsonObject]:
        try:
            received = parse_event(event if isinstance(event, str) else json.dumps(event), LIMIT)
        except ClientEventError as error:
            return self.check(self.session.failed(error, error.event_id))
        return self.check(self.session.handle(received))

    def check(self, events: list[JsonObject]) -> list[JsonObject]:
        for event in events:
            OFFICIAL.validate_python(event)
        return events

    def error(self, event: JsonObject | str) -> tuple[Json, Json]:
        (found,) = self.send(event)
        detail = found["error"]
        assert found["type"] == "error" and isinstance(detail, dict)
        return detail["code"], detail["event_id"]


def types(events: list[JsonObject]) -> list[Json]:
    return [event["type"] for event in events]


@pytest.fixture
def client() -> Client:
    return Client()


def speak(client: Client, text: str = "Hello", audio: bytes = SECOND) -> list[JsonObject]:
    """An answer of text and audio that does not end."""
    session = client.session
    return client.check([*session.answer_started("a"), *session.answer_text("a", text), *session.answer_audio("a", audio)])


def message(item_id: str = "", **content: Json) -> JsonObject:
    part: JsonObject = {"type": "input_text", "text": "Hello", **content}
    item: JsonObject = {"type": "message", "role": "user", "content": [part]}
    return {"type": "conversation.item.create", "event_id": "mine", "item": {**item, "id": item_id} if item_id else item}


# ---- sessions ----


def test_session_begins_with_itself_and_its_conversation(client: Client) -> None:
    events = client.check(client.session.begin())
    assert types(events) == ["session.created", "conversation.created"]


def test_update_merges_into_what_was_set(client: Client) -> None:
    client.send({"type": "session.update", "session": {"type": "realtime", "audio": {"input": {
        "turn_detection": {"type": "server_vad", "threshold": 0.9}}}}})
    (event,) = client.send({"type": "session.update", "session": {"type": "realtime", "instructions": "Be short.", "audio": {
        "input": {"turn_detection": {"type": "server_vad", "silence_duration_ms": 200}}}}})
    assert event["type"] == "session.updated" and client.session.config.instructions == "Be short."
    assert client.session.config.json()["audio"]["input"]["turn_detection"] == {
        "type": "server_vad", "threshold": 0.9, "prefix_padding_ms": 300, "silence_duration_ms": 200, "create_response": True,
        "interrupt_response": True, "idle_timeout_ms": None}


@pytest.mark.parametrize("detection", [None, {"type": "semantic_vad", "eagerness": "high"}], ids=["none", "semantic"])
def test_turn_detection_is_replaced(client: Client, detection: Json) -> None:
    client.send({"type": "session.update", "session": {"type": "realtime", "audio": {"input": {"turn_detection": detection}}}})
    found = client.session.config.turn_detection
    assert (found.json()["type"] if found else None) == (detection["type"] if isinstance(detection, dict) else None)


@pytest.mark.parametrize(("session", "code"), [
    ({"type": "transcription"}, "invalid_session_type"),
    ({"type": "realtime", "colour": "red"}, "unknown_parameter"),
    ({"type": "realtime", "output_modalities": ["text", "audio"]}, "invalid_value"),
    ({"type": "realtime", "audio": {"input": {"format": {"type": "audio/pcm", "rate": 16000}}}}, "invalid_value"),
    ({"type": "realtime", "audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 2}}}}, "invalid_value"),
    ({"type": "realtime", "audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": "x"}}}}, "invalid_type"),
    ({"type": "realtime", "instructions": "x" * 40_000}, "string_above_max_length"),
], ids=["transcription", "unknown", "both modalities", "rate", "range", "type", "length"])
def test_impossible_sessions_are_refused_and_change_nothing(client: Client, session: JsonObject, code: str) -> None:
    before = client.session.config
    assert client.error({"type": "session.update", "event_id": "mine", "session": session}) == (code, "mine")
    assert client.session.config == before and not client.fake.calls


def test_audio_needs_a_model_that_speaks() -> None:
    client = Client(can_speak=False, modality="text")
    assert client.error({"type": "session.update", "session": {"type": "realtime", "output_modalities": ["audio"]}})[0] == (
        "invalid_value")


# ---- what cannot be parsed ----


@pytest.mark.parametrize(("text", "code"), [
    ("", "invalid_json"), ("{", "invalid_json"), ("[]", "invalid_json"), ("NaN", "invalid_json"),
    ("{}", "missing_required_parameter"),
    ('{"type": 3}', "invalid_type"), ('{"type": "response.creat"}', "invalid_value"), ("[" * 100_000, "invalid_json"),
    ('{"type":"input_audio_buffer.append"}', "missing_required_parameter"),
    ('{"type":"input_audio_buffer.append","audio":"?!"}', "invalid_value"),
    ('{"type":"input_audio_buffer.append","audio":"AAA"}', "invalid_value"),
    ('{"type":"response.cancel","x":1}', "unknown_parameter"), ("x" * (LIMIT + 1), "message_too_large"),
])
def test_what_is_not_an_event_gets_its_error(client: Client, text: str, code: str) -> None:
    assert client.error(text) == (code, None)


def test_binary_messages_are_refused() -> None:
    with pytest.raises(ClientEventError, match="The message is binary"):
        parse_event(b"\x00\xff", LIMIT)


def values(random_numbers: random.Random, depth: int = 0) -> Json:
    kinds: list[Json] = [None, True, -1, 1 << 70, 0.5, "", "text", "\ud800", "AAAA", "root", "realtime", "message", "user",
                         IMAGE]
    chosen = random_numbers.randrange(len(kinds) + 3)
    if chosen < len(kinds) or depth > 3:
        return kinds[chosen % len(kinds)]
    if chosen == len(kinds):
        return [values(random_numbers, depth + 1) for _ in range(random_numbers.randrange(3))]
    names = ("type", "item", "id", "role", "content", "text", "audio", "image_url", "session", "input", "format", "rate",
             "turn_detection", "threshold", "response", "metadata", "item_id", "audio_end_ms", "content_index", "event_id")
    return {random_numbers.choice(names): values(random_numbers, depth + 1) for _ in range(random_numbers.randrange(6))}


@pytest.mark.parametrize("seed", range(8))
def test_any_json_gives_valid_events_and_no_trace(seed: int) -> None:
    random_numbers, client = random.Random(seed), Client()
    for _ in range(400):
        event = values(random_numbers)
        fields = event if isinstance(event, dict) else {}
        client.send(json.dumps({**fields, "type": random_numbers.choice([*PARSERS])}))
    assert client.check(client.session.begin())


@pytest.mark.parametrize("seed", range(4))
def test_damaged_messages_give_errors_and_no_trace(seed: int) -> None:
    random_numbers, client = random.Random(seed), Client()
    good = json.dumps(message("item"))
    for _ in range(300):
        letters = [*good]
        for _ in range(random_numbers.randrange(1, 4)):
            letters[random_numbers.randrange(len(letters))] = chr(random_numbers.choice([0, 34, 44, 58, 91, 123, 0x1F600]))
        assert client.send("".join(letters))


# ---- items ----


def test_an_item_is_added_and_done(client: Client) -> None:
    events = client.send(message("first"))
    assert types(events) == ["conversation.item.added", "conversation.item.done"] and client.fake.calls == ["insert user"]
    assert client.send(message("second"))[0]["previous_item_id"] == "first"


def test_an_item_goes_where_the_client_puts_it(client: Client) -> None:
    for place, name in [(None, "a"), (None, "b"), ("root", "c"), ("a", "d")]:
        client.send({**message(name), "previous_item_id": place})
    assert [item.id for item in client.session.items] == ["c", "a", "d", "b"]


def test_an_image_and_audio_are_parts_of_an_item(client: Client) -> None:
    audio = base64.b64encode(SECOND).decode()
    content = [{"type": "input_image", "image_url": IMAGE}, {"type": "input_audio", "audio": audio}]
    item: JsonObject = {"id": "a", "type": "message", "role": "user", "content": content}
    client.send({"type": "conversation.item.create", "item": item})
    (event,) = client.send({"type": "conversation.item.retrieve", "item_id": "a"})
    assert base64.b64decode(event["item"]["content"][1]["audio"]) == SECOND


@pytest.mark.parametrize(("event", "code"), [
    (message("a"), "item_create_duplicate_item_id"),
    ({**message("b"), "previous_item_id": "gone"}, "previous_item_not_found"),
    ({"type": "conversation.item.retrieve", "item_id": "gone"}, "item_retrieve_invalid_item_id"),
    ({"type": "conversation.item.delete", "item_id": "gone"}, "item_delete_invalid_item_id"),
    ({"type": "conversation.item.truncate", "item_id": "gone", "content_index": 0, "audio_end_ms": 0},
     "item_truncate_invalid_item_id"),
    ({"type": "conversation.item.truncate", "item_id": "a", "content_index": 0, "audio_end_ms": 0},
     "item_truncate_invalid_item_id"),
    ({"type": "conversation.item.create", "item": {"type": "function_call_output", "call_id": "x", "output": "y"}},
     "invalid_value"),
    (message("c", type="output_text"), "invalid_value"),
    ({"type": "output_audio_buffer.clear"}, "invalid_event_for_transport"),
    ({"type": "response.cancel"}, "response_cancel_not_active"),
    ({"type": "input_audio_buffer.commit"}, "input_audio_buffer_commit_empty"),
], ids=str)
def test_impossible_events_get_their_code(client: Client, event: JsonObject, code: str) -> None:
    client.send(message("a"))
    assert client.error(event)[0] == code and [item.id for item in client.session.items] == ["a"]


def test_media_that_cannot_be_used_are_refused_and_not_added(client: Client) -> None:
    client.fake.refusal = "item is damaged"
    assert client.error(message("a")) == ("invalid_value", "mine") and not len(client.session.items)


def test_delete_takes_an_item_out(client: Client) -> None:
    client.send(message("a"))
    assert types(client.send({"type": "conversation.item.delete", "item_id": "a"})) == ["conversation.item.deleted"]
    assert client.fake.calls == ["insert user", "delete a"] and not len(client.session.items)


# ---- turns and answers ----


def test_a_turn_by_hand(client: Client) -> None:
    audio = base64.b64encode(SECOND).decode()
    assert client.send({"type": "input_audio_buffer.append", "audio": audio}) == []
    assert client.send({"type": "input_audio_buffer.commit"}) == [] and client.fake.calls == ["push 48000", "commit"]
    events = client.check(client.session.turn_committed("turn"))
    assert types(events) == ["input_audio_buffer.committed", "conversation.item.added", "conversation.item.done"]
    assert client.error({"type": "input_audio_buffer.commit"})[0] == "input_audio_buffer_commit_empty"


def test_a_detected_turn_has_one_item_id(client: Client) -> None:
    session = client.session
    events = client.check([*session.speech_started("t", 300), *session.speech_stopped("t", 900), *session.turn_committed("t")])
    assert types(events)[:3] == ["input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped",
                                 "input_audio_buffer.committed"]
    assert len({event["item_id"] for event in events[:3]}) == 1


def test_a_spoken_answer_s_events_stand_in_order(client: Client) -> None:
    client.send(message("question"))
    client.send({"type": "response.create", "response": {"metadata": {"a": "b"}}})
    events = [*speak(client), *client.check(client.session.answer_finished("a", Ending(usage=USAGE)))]
    assert types(events) == [
        "response.created", "response.output_item.added", "conversation.item.added", "response.content_part.added",
        "response.output_audio_transcript.delta", "response.output_audio.delta", "response.output_audio.done",
        "response.output_audio_transcript.done", "response.content_part.done", "response.output_item.done",
        "conversation.item.done", "response.done"]
    response = events[-1]["response"]
    assert response["status"] == "completed" and response["metadata"] == {"a": "b"} and response["usage"] == GIVEN


def test_usage_has_the_fields_of_the_official_type() -> None:
    assert RealtimeResponseUsage.model_validate(GIVEN).model_dump(exclude_none=True) == GIVEN


def test_a_cancelled_answer_has_what_it_took(client: Client) -> None:
    speak(client)
    assert client.send({"type": "response.cancel"})[-1]["response"]["usage"] == GIVEN


def test_a_truncated_answer_has_what_it_took(client: Client) -> None:
    item = speak(client)[1]["item"]
    events = client.send({"type": "conversation.item.truncate", "item_id": item["id"], "content_index": 0, "audio_end_ms": 0})
    assert types(events)[-2:] == ["response.done", "conversation.item.truncated"]
    assert events[-2]["response"]["usage"] == GIVEN


def test_a_text_answer_s_events_stand_in_order() -> None:
    client = Client(modality="text")
    events = [*speak(client), *client.check(client.session.answer_finished("a", Ending()))]
    assert types(events) == [
        "response.created", "response.output_item.added", "conversation.item.added", "response.content_part.added",
        "response.output_text.delta", "response.output_text.done", "response.content_part.done", "response.output_item.done",
        "conversation.item.done", "response.done"]


@pytest.mark.parametrize("ending", [Ending("cancelled", "turn_detected"), Ending("incomplete", "max_output_tokens"),
                                    Ending("failed")], ids=lambda ending: ending.status)
def test_an_answer_that_ends_early_gives_how(client: Client, ending: Ending) -> None:
    speak(client)
    done = client.check(client.session.answer_finished("a", ending))[-1]
    assert done["response"]["status"] == ending.status
    assert done["response"]["status_details"].get("reason") == ending.reason
    assert done["response"]["output"][0]["status"] == "incomplete"


def test_an_answer_without_content_has_no_item(client: Client) -> None:
    events = client.check([*client.session.answer_started("a"), *client.session.answer_finished("a", Ending())])
    assert types(events) == ["response.created", "response.done"] and events[-1]["response"]["output"] == []


def test_a_second_response_is_refused_until_the_first_is_done(client: Client) -> None:
    client.send({"type": "response.create"})
    assert client.error({"type": "response.create"})[0] == "conversation_already_has_active_response"
    speak(client)
    assert client.error({"type": "response.create"})[0] == "conversation_already_has_active_response"
    client.session.answer_finished("a", Ending())
    assert client.send({"type": "response.create"}) == []


def test_a_response_that_cannot_begin_leaves_room_for_the_next(client: Client) -> None:
    client.fake.refusal = "nothing is asked"
    assert client.error({"type": "response.create"})[0] == "invalid_value"
    client.fake.refusal = None
    assert client.send({"type": "response.create"}) == []


def test_cancel_ends_the_answer_and_drops_what_comes_later(client: Client) -> None:
    speak(client)
    events = client.send({"type": "response.cancel"})
    assert events[-1]["response"]["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}
    assert client.fake.calls == ["cancel"]
    assert not client.session.answer_audio("a", SECOND) and not client.session.answer_finished("a", Ending())


def truncate(client: Client, milliseconds: int) -> list[JsonObject]:
    name = client.session.item_id("a")
    return client.send({"type": "conversation.item.truncate", "item_id": name, "content_index": 0,
                        "audio_end_ms": milliseconds})


@pytest.mark.parametrize(("asked", "given"), [(0, 0), (400, 400), (1000, 1000), (5000, 1000)])
def test_truncation_keeps_what_was_played(client: Client, asked: int, given: int) -> None:
    speak(client)
    client.session.answer_finished("a", Ending())
    (event,) = truncate(client, asked)
    assert event["audio_end_ms"] == given and client.fake.calls == [f"truncate {given}"]
    assert [*client.session.items][-1].content[0].transcript == f"played {given}"


def test_truncating_the_running_answer_cancels_it(client: Client) -> None:
    speak(client)
    assert types(truncate(client, 100))[-2:] == ["response.done", "conversation.item.truncated"]
    assert client.fake.calls == ["cancel", "truncate 100"]


def test_noise_gives_back_the_buffer(client: Client) -> None:
    session = client.session
    events = client.check([*session.speech_started("t", 0), *session.speech_stopped("t", 9), *session.turn_ignored("t")])
    assert types(events)[-1] == "input_audio_buffer.cleared" and not len(session.items)


def test_transcripts_reach_their_item(client: Client) -> None:
    client.session.turn_committed("t")
    client.check([*client.session.transcribed("t", "how many", 0.5), *client.session.transcription_failed("t", "no head")])
    assert next(iter(client.session.items)).content[0].transcript == "how many"
