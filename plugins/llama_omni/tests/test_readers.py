# ruff: noqa: E501  # a mistake and its sentence stand in one line
"""Published rows become samples; a row that does not fit is one sentence that names file and row."""

import json
from pathlib import Path
from typing import Any

import pytest
from omnikit_llama_omni.datasets import LlamaOmniJson, SpokenConversations

from omnikit import registry
from omnikit.contracts.configs import ReaderConfig
from omnikit.contracts.specs import Template
from omnikit.contracts.types import ContentPart, Message, Sample
from omnikit.data.text.templates import render
from omnikit.data.text.tokenise import encode
from omnikit.data.text.tokenizer import load
from omnikit.errors import DataError
from omnikit.recipe import presets
from omnikit.recipe.schema import construct

FOLDER = Path(__file__).parents[3] / "tests" / "parity" / "goldens" / "llama_omni_prompt"
GOLDEN = json.loads((FOLDER / "outputs.json").read_text())

ASK = "<speech>\nPlease directly answer the questions in the user's speech."
HUMAN, GPT = {"from": "human", "value": ASK}, {"from": "gpt", "value": "It is noon."}


def published(**changes: object) -> dict[str, object]:
    """Give one row as the repository's JSON has it."""
    return {"id": "helpful_1", "speech": "q.wav", "conversations": [HUMAN, GPT], **changes}


def turn(who: str, wave: str, text: str, unit: str | None = None) -> dict[str, object]:
    return {"from": who, "speech": wave, "text": text, "unit": unit}


CONVERSATION = {"id": "c1", "conversation": [
    turn("human", "q.wav", "what time is it"), turn("gpt", "a.wav", "noon", "<7><7><12>"),
    turn("human", "q.wav", "and now"), turn("gpt", "a.wav", "still noon", "<3>")]}


def write(folder: Path, *rows: object, lines: bool = False) -> str:
    for name in ("q.wav", "a.wav"):
        (folder / name).touch()
    text = "\n".join(map(json.dumps, rows)) if lines else json.dumps(rows)
    (folder / "rows.json").write_text(text)
    return str(folder / "rows.json")


def test_placeholder_is_the_audio_and_the_words_around_it_stay(tmp_path: Path) -> None:
    sample = LlamaOmniJson(write(tmp_path, published())).build()[0]
    asked = (ContentPart("audio", path=str(tmp_path / "q.wav")), ContentPart("text", text="Please directly answer the questions in the user's speech."))
    assert sample == Sample("helpful_1", (Message("user", asked), Message("assistant", (ContentPart("text", text="It is noon."),))))


def test_each_placeholder_takes_the_next_file(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "First <speech> then <speech>"}, GPT, {"from": "human", "value": "No sound."}, GPT]
    sample = LlamaOmniJson(write(tmp_path, published(speech=["q.wav", "a.wav"], conversations=turns))).build()[0]
    assert [(part.type, part.text, Path(part.path or "").name) for part in sample.messages[0].content] == [
        ("text", "First ", ""), ("audio", None, "q.wav"), ("text", " then ", ""), ("audio", None, "a.wav")]
    assert sample.messages[2].content == (ContentPart("text", text="No sound."),)


@pytest.mark.parametrize("units", [[5, 5, 0, 999, 5], "5 5 0 999 5"], ids=["list", "words"])
def test_units_come_with_their_runs_merged(units: object, tmp_path: Path) -> None:
    of_turn = LlamaOmniJson(write(tmp_path, published(conversations=[HUMAN, {**GPT, "tgt_units": units}]))).build()[0]
    of_row = LlamaOmniJson(write(tmp_path, published(prediction_units=units), lines=True)).build()[0]
    (tmp_path / "units.jsonl").write_text(json.dumps({"question_id": "helpful_1", "prediction_units": units, "prediction": "x"}))
    of_file = LlamaOmniJson(write(tmp_path, published()), units=str(tmp_path / "units.jsonl")).build()[0]
    assert of_turn == of_row == of_file
    assert of_turn.messages[1].content[1] == ContentPart("audio", text="It is noon.", codes=((5,), (0,), (999,), (5,)))


@pytest.mark.parametrize("case", [case for case in GOLDEN["training"] if "input_ids" in case], ids=lambda case: case["prompt"][-60:])
def test_row_reaches_the_model_as_in_the_original(case: dict[str, Any], tmp_path: Path) -> None:
    """Ids and labels of the original code, which puts -200 for the audio and -100 where nothing is trained."""
    turns = case["conversation"]
    audio = ["q.wav"] * sum(turn["value"].count("<speech>") for turn in turns)
    sample = LlamaOmniJson(write(tmp_path, published(speech=audio, conversations=turns))).build()[0]
    preset = registry.preset("template", "llama_omni_two_bos")
    assert preset
    template = construct(Template, presets.read_mapping(preset.path), "template", [])
    assert template
    pieces = list(encode(render(sample.messages, template), template, load(str(FOLDER / "tokenizer.json"))))
    ids = [-200 if piece.media else number for piece in pieces for number in piece.ids or (0,)]
    labels = [number if mark else -100 for piece in pieces for number, mark in zip(piece.ids or (0,), piece.supervised or (False,), strict=True)]
    assert (ids, labels) == (case["input_ids"], case["labels"])


def test_conversation_of_many_turns_takes_the_waves(tmp_path: Path) -> None:
    sample = SpokenConversations(write(tmp_path, CONVERSATION)).build()[0]
    question, answer = str(tmp_path / "q.wav"), str(tmp_path / "a.wav")
    assert sample == Sample("c1", (
        Message("user", (ContentPart("audio", "what time is it", question),)),
        Message("assistant", (ContentPart("text", "noon"), ContentPart("audio", "noon", answer))),
        Message("user", (ContentPart("audio", "and now", question),)),
        Message("assistant", (ContentPart("text", "still noon"), ContentPart("audio", "still noon", answer)))))


def test_a_line_ends_at_a_line_feed_only(tmp_path: Path) -> None:
    answer = "It\u2028is\u2029now\x85noon."
    path = Path(write(tmp_path, published(conversations=[HUMAN, {"from": "gpt", "value": answer}])))
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\r\n" for row in json.loads(path.read_text())), newline="")
    assert LlamaOmniJson(str(path)).build()[0].messages[1].content[0].text == answer


def test_units_of_a_conversation_are_read_on_request(tmp_path: Path) -> None:
    sample = SpokenConversations(write(tmp_path, CONVERSATION), units=True).build()[0]
    assert [part.codes for message in sample.messages for part in message.content if part.codes] == [((7,), (12,)), ((3,),)]


def test_cosyvoice_tokens_are_refused_with_the_way_out(tmp_path: Path) -> None:
    row = {"id": "c1", "conversations": [turn("human", "q.wav", "hello"), turn("gpt", "a.wav", "hi", "<2957><4299><4299>")]}
    with pytest.raises(DataError, match=r"rows.json, row 0: conversations\[1\]\.unit holds unit 4299, but the codec has 1000, 0 to 999;"
                       r" .*CosyVoice 2.*\(spoken_conversations: units: false\)"):
        SpokenConversations(write(tmp_path, row), units=True).build()[0]
    assert len(SpokenConversations(write(tmp_path, row)).build()[0].messages) == 2


@pytest.mark.parametrize(("changes", "sentence"), [
    ({"conversations": None}, "conversations is missing, but must be a list of at least one turn"),
    ({"conversations": [{"from": "robot", "value": "x"}], "speech": None}, r"conversations\[0\].from is robot, but must be one of human, gpt"),
    ({"conversations": [HUMAN, {"from": "gpt", "value": " "}]}, r"conversations\[1\].value is  , but must be a text"),
    ({"conversations": [HUMAN, {**GPT, "tgt_units": [1, -2]}]}, r"conversations\[1\].tgt_units is \[1, -2\], but must be units"),
    ({"conversations": [HUMAN, {**GPT, "tgt_units": [1000]}]}, "holds unit 1000, but the codec has 1000, 0 to 999"),
    ({"conversations": [HUMAN, GPT, GPT], "prediction_units": "1 2"}, "it is not clear which of the 2 answers it belongs to"),
    ({"speech": None}, "speech is 0 files, but must be one for each of the 1 <speech>"),
    ({"speech": ["q.wav", "a.wav"]}, "speech is 2 files, but must be one for each of the 1 <speech>"),
    ({"speech": "gone.wav"}, "speech is 'gone.wav', but there is no file .*gone.wav; fix `root`"),
    ({"speech": 3}, "speech is 3, but must be the path of a wave file"),
], ids=str)
def test_row_that_does_not_fit_is_one_sentence(changes: dict[str, object], sentence: str, tmp_path: Path) -> None:
    reader = LlamaOmniJson(write(tmp_path, published(), published(**changes))).build()
    assert len(reader[0].messages) == 2
    with pytest.raises(DataError, match=f"rows.json, row 1: .*{sentence}"):
        reader[1]


@pytest.mark.parametrize(("text", "sentence"), [("", "is empty, but must hold at least one"), ("[]", "is empty"), ("[{]", "is not JSON")], ids=str)
def test_file_that_cannot_be_read_is_one_sentence(text: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text(text)
    with pytest.raises(DataError, match=sentence):
        LlamaOmniJson(str(tmp_path / "rows.json")).build()


def test_missing_file_is_one_sentence() -> None:
    with pytest.raises(DataError, match=r"gone\.json does not exist"):
        SpokenConversations("gone.json").build()


@pytest.mark.parametrize("config", [LlamaOmniJson("x"), SpokenConversations("x")], ids=["json", "conversations"])
def test_readers_keep_the_contract(config: ReaderConfig) -> None:
    assert isinstance(config, ReaderConfig) and config.seconds is None


def test_impossible_fields_are_refused() -> None:
    with pytest.raises(ValueError, match="provides holds 'wave'"):
        LlamaOmniJson("x", provides=("wave",))
    with pytest.raises(ValueError, match="cardinality is 0"):
        SpokenConversations("x", cardinality=0)
