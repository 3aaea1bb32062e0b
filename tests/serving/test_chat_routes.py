"""The stock openai client at a real server: only the URL is changed."""

import base64
import io

import httpx
import numpy as np
import openai
import pytest
import soundfile
from PIL import Image
from servers import Running, running, wav

import omnikit
from omnikit.data.media.image import Pixels
from omnikit.data.media.video import save_video
from omnikit.inference.question import question
from omnikit.inference.session import Session

TEXT = [{"role": "user", "content": "How many legs has a spider?"}]
AUDIO = [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": base64.b64encode(wav()).decode(),
                                                                              "format": "wav"}}]}]


def image_url(pixels: Pixels) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def ask_with(content: dict[str, object]) -> list[dict[str, object]]:
    return [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, content]}]


NOISE = np.random.default_rng(0).integers(0, 255, (6, 64, 64, 3), dtype=np.uint8)


def test_models_are_listed(server: Running) -> None:
    (model,) = server.client().models.list().data
    assert model.id == "tiny" and server.client().models.retrieve("tiny").id == "tiny"


def test_a_text_question_has_the_session_s_answer(server: Running, spoken: Session) -> None:
    found = server.client().chat.completions.create(model="tiny", messages=TEXT, temperature=0)
    expected = spoken.answers([question(text=TEXT[0]["content"])], speak=False, greedy=True)[0]
    assert found.choices[0].message.content == expected.text and found.model == "tiny"
    assert found.usage is not None and found.usage.completion_tokens > 0


def test_a_spoken_question_is_answered_with_audio(server: Running) -> None:
    found = server.client().chat.completions.create(model="tiny", messages=AUDIO, modalities=["text", "audio"],
                                                    audio={"voice": "alloy", "format": "wav"})
    audio = found.choices[0].message.audio
    assert audio is not None and audio.transcript and found.choices[0].message.content is None
    data, rate = soundfile.read(io.BytesIO(base64.b64decode(audio.data)))
    assert rate == 16000 and len(data) > 0


def test_audio_in_a_data_url_is_the_same_question(server: Running) -> None:
    url = f"data:audio/wav;base64,{base64.b64encode(wav()).decode()}"
    part = {"type": "audio_url", "audio_url": {"url": url}}
    create = server.client().chat.completions.create
    inline, by_url = (create(model="tiny", messages=messages, temperature=0)
                      for messages in (AUDIO, [{"role": "user", "content": [part]}]))
    assert by_url.choices[0].message.content == inline.choices[0].message.content


def test_chunks_joined_are_the_answer(server: Running) -> None:
    client = server.client()
    whole = client.chat.completions.create(model="tiny", messages=TEXT).choices[0].message.content
    chunks = list(client.chat.completions.create(model="tiny", messages=TEXT, stream=True,
                                                 stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == whole
    assert chunks[-2].choices[0].finish_reason and chunks[-1].usage is not None


def test_streamed_audio_joined_is_the_answer_s(server: Running) -> None:
    client = server.client()
    asked = {"model": "tiny", "messages": TEXT, "modalities": ["text", "audio"], "audio": {"voice": "x", "format": "pcm16"}}
    whole = client.chat.completions.create(**asked).choices[0].message.audio
    with httpx.stream("POST", f"{server.url}/v1/chat/completions", json={**asked, "stream": True}) as response:
        lines = [line[6:] for line in response.iter_lines() if line.startswith("data: {")]
    deltas = [httpx.Response(200, text=line).json()["choices"][0]["delta"].get("audio", {}) for line in lines]
    pcm = b"".join(base64.b64decode(delta.get("data", "")) for delta in deltas)
    assert whole is not None
    found, expected = (np.frombuffer(data, "<i2").astype(int) for data in (pcm, base64.b64decode(whole.data)))
    assert len(found) == len(expected) and np.abs(found - expected).max() <= 40  # the resampler in pieces rounds elsewhere


def test_answers_differ_by_seed_and_repeat_with_it(server: Running) -> None:
    found = [[choice.message.content for choice in server.client().chat.completions.create(
        model="tiny", messages=TEXT, n=3, seed=5, temperature=1.0).choices] for _ in range(2)]
    assert found[0] == found[1] and len(set(found[0])) == 3


def test_limit_stop_and_logprobs_are_heeded(server: Running) -> None:
    client = server.client()
    short = client.chat.completions.create(model="tiny", messages=TEXT, max_tokens=2, logprobs=True, top_logprobs=2).choices[0]
    assert short.finish_reason == "length" and short.logprobs and len(short.logprobs.content or []) == 2
    assert len((short.logprobs.content or [])[0].top_logprobs) == 2
    stopped = client.chat.completions.create(model="tiny", messages=TEXT, stop=(short.message.content or "")[1:3]).choices[0]
    assert stopped.message.content == (short.message.content or "")[:1] and stopped.finish_reason == "stop"


@pytest.mark.parametrize("content", [
    {"type": "image_url", "image_url": {"url": image_url(NOISE[0])}},
    {"type": "video", "video": [image_url(frame) for frame in NOISE[:3]]},
], ids=["image", "frames"])
def test_images_and_frames_are_asked_about(vision_server: Running, content: dict[str, object]) -> None:
    found = vision_server.client().chat.completions.create(model="tiny", messages=ask_with(content))
    text = vision_server.client().chat.completions.create(model="tiny", messages=TEXT)
    assert found.usage and text.usage and found.usage.prompt_tokens > text.usage.prompt_tokens


def test_a_video_file_is_asked_about(vision_server: Running, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("video") / "a.mp4"
    save_video(path, NOISE, 2)
    url = f"data:video/mp4;base64,{base64.b64encode(path.read_bytes()).decode()}"
    found = vision_server.client().chat.completions.create(
        model="tiny", messages=ask_with({"type": "video_url", "video_url": {"url": url}}))
    assert found.choices[0].finish_reason


def test_speech_is_transcribed(server: Running, spoken: Session) -> None:
    found = server.client().audio.transcriptions.create(model="tiny", file=("a.wav", wav()))
    data, _ = soundfile.read(io.BytesIO(wav()), dtype="float32")
    assert found.text == spoken.transcribe([data], 16000)[0]


def test_a_head_of_hidden_states_cannot_speak_a_text(server: Running) -> None:
    with pytest.raises(openai.BadRequestError, match="cannot speak a given text"):
        server.client().audio.speech.create(model="tiny", voice="alloy", input="Hello")


def test_a_head_that_reads_text_speaks_one() -> None:
    session = omnikit.build("vita_1_5/tiny", ["speech.head.max_codes=20"], device="cpu")
    with running(session) as server:
        client = server.client()
        whole = client.audio.speech.create(model="tiny", voice="alloy", input="Hello there.", response_format="wav").content
        pcm = client.audio.speech.create(model="tiny", voice="alloy", input="Hello there.", response_format="pcm").content
    info = soundfile.info(io.BytesIO(whole))
    assert info.frames > 0 and abs(len(pcm) / 2 / 24000 - info.duration) < 0.01


REFUSED = {
    "messages": ({"messages": "hello"}, "'messages' is \"hello\", but must be a list"),
    "role": ({"messages": [{"role": "wizard", "content": "a"}]}, "must be one of 'system'"),
    "no question": ({"messages": [{"role": "assistant", "content": "a"}]}, "whose last message is a user's"),
    "empty": ({"messages": []}, "an empty list"),
    "field": ({"messages": TEXT, "colour": "red"}, "Unknown parameter: 'colour'"),
    "tools": ({"messages": TEXT, "tools": [{"type": "function"}]}, "tools is not supported"),
    "temperature": ({"messages": TEXT, "temperature": 9}, "'temperature' is 9, but must be from 0 to 2"),
    "n": ({"messages": TEXT, "n": 99}, "'n' is 99, but must be from 1 to 8"),
    "mp3 stream": ({"messages": TEXT, "stream": True, "modalities": ["text", "audio"], "audio": {"format": "mp3"}}, "'pcm16'"),
    "fetch": ({"messages": ask_with({"type": "image_url", "image_url": {"url": "http://10.0.0.1/a.png"}})},
              "takes none|must be a data URL"),
    "fetch audio": ({"messages": ask_with({"type": "audio_url", "audio_url": {"url": "file:///etc/passwd"}})},
                    "must be a data URL"),
    "base64": ({"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "?"}}]}]},
               "is not base64"),
    "no audio": ({"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AAAA"}}]}]},
                 "not a readable audio file"),
    "too long": ({"messages": [{"role": "user", "content": "word " * 3000}]}, "context"),
}


@pytest.mark.parametrize(("body", "message"), REFUSED.values(), ids=REFUSED)
def test_bad_requests_get_their_error(server: Running, body: dict[str, object], message: str) -> None:
    with pytest.raises(openai.BadRequestError, match=message):
        server.client().post("/chat/completions", body=body, cast_to=object)


def test_a_long_wav_is_refused(server: Running) -> None:
    part = {"type": "input_audio", "input_audio": {"data": base64.b64encode(wav(600, 8000)).decode(), "format": "wav"}}
    with pytest.raises(openai.BadRequestError, match=r"has 600\.0 s of audio, but at most 120 s are allowed"):
        server.client().chat.completions.create(model="tiny", messages=[{"role": "user", "content": [part]}])


def test_a_decompression_bomb_is_refused(vision_server: Running) -> None:
    buffer = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(buffer, format="PNG")  # 50 KB that would be 1.2 GB
    url = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    with pytest.raises(openai.BadRequestError, match="pixels"):
        vision_server.client().chat.completions.create(model="tiny",
                                                       messages=ask_with({"type": "image_url", "image_url": {"url": url}}))
