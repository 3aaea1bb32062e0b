"""Conversations of LLaVA, ShareGPT, ms-swift and OpenAI become samples; a broken row is one sentence with file and row."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from omnikit_datasets.config import LlavaJson, OpenAIMessages, ShareGpt

from omnikit.contracts.types import ContentPart, Message, Sample
from omnikit.errors import DataError

TEXT = Message("assistant", (ContentPart("text", "an answer"),))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.jpg", "b.jpg", "a.wav", "a.mp4"):
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def write(folder: Path, *rows: object, name: str = "rows.json") -> str:
    (folder / name).write_text(json.dumps(list(rows), indent=1))
    return str(folder / name)


def user(*parts: ContentPart) -> Message:
    return Message("user", parts)


def image(folder: Path, name: str) -> ContentPart:
    return ContentPart("image", path=str(folder / name))


def llava(value: str, **media: object) -> dict[str, object]:
    return {"id": "r1", **media, "conversations": [{"from": "human", "value": value}, {"from": "gpt", "value": "an answer"}]}


def test_llava_row_without_set_puts_its_image_at_the_placeholder(folder: Path) -> None:
    reader = LlavaJson(write(folder, llava("<image>\nwhat is it?", image="a.jpg"))).build()
    assert reader[0] == Sample("r1", (user(image(folder, "a.jpg"), ContentPart("text", "what is it?")), TEXT))


def test_llava_row_without_placeholder_has_its_image_first(folder: Path) -> None:
    reader = LlavaJson(write(folder, llava("what is it?", image="a.jpg"))).build()
    assert [part.type for part in reader[0].messages[0].content] == ["image", "text"]


def test_text_between_two_images_stays_between_them(folder: Path) -> None:
    reader = LlavaJson(write(folder, llava("<image> or <image>?", image=["a.jpg", "b.jpg"]))).build()
    assert [part.text or part.path for part in reader[0].messages[0].content] == [
        str(folder / "a.jpg"), " or ", str(folder / "b.jpg"), "?"]


def test_swift_lists_of_three_media(folder: Path) -> None:
    row = {"messages": [{"role": "system", "content": "be short"},
                        {"role": "user", "content": "<image><audio><video>compare"},
                        {"role": "assistant", "content": "an answer"}],
           "images": ["a.jpg"], "audios": ["a.wav"], "videos": ["a.mp4"]}
    sample = ShareGpt(write(folder, row)).build()[0]
    assert [[part.type for part in message.content] for message in sample.messages] == [
        ["text"], ["image", "audio", "video", "text"], ["text"]]


def test_swift_query_response_and_history(folder: Path) -> None:
    row = {"system": "s", "query": "q2", "response": "a2", "history": [["q1", "a1"]]}
    sample = ShareGpt(write(folder, row)).build()[0]
    assert [(message.role, message.content[0].text) for message in sample.messages] == [
        ("system", "s"), ("user", "q1"), ("assistant", "a1"), ("user", "q2"), ("assistant", "a2")]


def test_openai_row_holds_its_media_as_base64(folder: Path) -> None:
    clip = io.BytesIO()
    soundfile.write(clip, np.zeros(160), 16000, format="WAV")
    row = {"messages": [
        {"role": "user", "content": [
            {"type": "text", "text": "look"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64," + base64.b64encode(b"png").decode()}},
            {"type": "input_audio", "input_audio": {"data": base64.b64encode(clip.getvalue()).decode(), "format": "wav"}}]},
        {"role": "assistant", "content": "an answer"}]}
    parts = OpenAIMessages(write(folder, row)).build()[0].messages[0].content
    assert [part.data for part in parts] == [None, b"png", clip.getvalue()]


def test_json_list_is_read_row_by_row_also_over_blocks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omnikit_datasets.json_rows.BLOCK", 64)
    rows = [llava("ü " * index, other={"a": [1, {"b": "]},["}]}) | {"id": f"é{index}"} for index in range(30)]
    reader = LlavaJson(write(folder, *rows)).build()
    assert [reader[index].id for index in range(len(reader))] == [f"é{index}" for index in range(30)]


BROKEN = {
    "too few files": (llava("<image><image>", image="a.jpg"), "there are 2 <image> in the questions, but 1 files in images"),
    "missing file": (llava("<image>", image="c.jpg"), r"images\[0\] is 'c.jpg', but there is no file"),
    "remote file": (llava("<image>", image="https://x.org/a.jpg"), "lies on another machine; download it"),
    "role": ({"conversations": [{"from": "alien", "value": "x"}]}, r'conversations\[0\].from is "alien", but must be one of'),
    "no turns": ({"conversations": []}, "conversations is .* but must be a list of at least one turn"),
    "turn": ({"conversations": ["x"]}, r'conversations\[0\] is "x", but must be an object'),
    "content": ({"messages": [{"role": "user"}]}, r"messages\[0\].content is missing, but must be a text or a list"),
    "type": ({"messages": [{"role": "user", "content": [{"type": "odd"}]}]}, 'type is "odd", but must be one of text'),
    "base64": ({"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "é"}}]}]},
               "must be media as base64"),
    "tool": ({"messages": [{"role": "assistant", "content": None, "tool_calls": [{}]}]}, "calls a tool"),
    "weight": ({"messages": [{"role": "assistant", "content": "x", "weight": 0}]}, "shall not be trained"),
    "history": ({"query": "q", "response": "a", "history": ["x"]}, r'history\[0\] is "x", but must be a list of a question'),
    "a list": ([1], r"rows.json, row 0 is \[1\], but must be a JSON object"),
    "path of 5000 characters": (llava("<image>", image="a" * 5000), "images.* must be the path of a file"),
}


@pytest.mark.parametrize("case", list(BROKEN))
def test_broken_row_is_one_sentence_with_file_and_row(folder: Path, case: str) -> None:
    row, message = BROKEN[case]
    path = write(folder, row)
    with pytest.raises(DataError, match=message) as caught:
        ShareGpt(path).build()[0]
    assert str(caught.value).startswith(f"{path}, row 0")
    assert len(caught.value.sentences) == 1


@pytest.mark.parametrize(("text", "message"), [("", "is empty"), ("[]", "is empty"), ('[{"a": 1', "is not a JSON list: row 0"),
                                               ('[{"a": 1} {"b": 2}]', "behind row 0 stands '{'")],
                         ids=["nothing", "no rows", "cut", "no comma"])
def test_broken_file_is_a_sentence(folder: Path, text: str, message: str) -> None:
    (folder / "rows.json").write_text(text)
    with pytest.raises(DataError, match=message):
        LlavaJson(str(folder / "rows.json")).build()
