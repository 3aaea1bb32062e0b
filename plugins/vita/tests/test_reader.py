"""The reader of VITA's JSON: placeholders become parts, states and shares are kept, broken rows are sentences."""

import json
from pathlib import Path

import pytest
from omnikit_vita.config import VitaJson
from omnikit_vita.listing import Listing
from omnikit_vita.reader import VitaReader

from omnikit.contracts.configs import ReaderConfig
from omnikit.contracts.types import ContentPart, Message
from omnikit.errors import DataError


def turns(*texts: str) -> list[dict[str, str]]:
    return [{"from": ("human", "gpt")[place % 2], "value": text} for place, text in enumerate(texts)]


def reader(folder: Path, *rows: object, **options: object) -> VitaReader:
    for name in ("images/a.png", "images/b.png", "videos/f.mp4", "sound/audio/q.wav"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / "rows.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    folders = {"images": str(folder / "images"), "videos": str(folder / "videos")}
    return VitaJson(str(folder / "rows.json"), folders, str(folder / "sound"), **options).build()


def test_images_and_audio_stand_where_their_placeholders_do(tmp_path: Path) -> None:
    row = {"set": "images", "id": 7, "image": ["a.png", "b.png"], "audio": "q.wav",
           "conversations": turns("<image>\n<image>\nWhich\n\none?\n<audio>\n", "the left", "why?", "it is red")}
    sample = reader(tmp_path, row)[0]
    image_spec = [ContentPart("image", path=str(tmp_path / "images" / name)) for name in ("a.png", "b.png")]
    asked = (*image_spec, ContentPart("text", "Which\n\none?\n"), ContentPart("audio",
                                                                              path=str(tmp_path / "sound" / "audio" / "q.wav")))
    assert sample.id == "7"
    assert sample.messages == (Message("user", asked), Message("assistant", (ContentPart("text", "the left"),)),
                               Message("user", (ContentPart("text", "why?"),)),
                               Message("assistant", (ContentPart("text", "it is red"),)))


CLEANED = {  # vita.md, section 5.6
    "break behind": ("<image>\nWhat?", ["image", "What?"]),
    "image at the end comes first": ("What is it?\n<image>", ["image", "What is it?"]),
    "image within stays": ("Is <image>\nred?", ["Is ", "image", "red?"]),
    "video": ("<video>\nWhich way?", ["video", "Which way?"]),
    "paragraphs are the template's": ("<image>\nPick:\n\nA\n\n\n\nB", ["image", "Pick:\n\nA\n\n\n\nB"]),
    "text alone is left": ("Pick:\n\nA", ["Pick:\n\nA"]),
    "break behind sound": ("Hear <audio>\nit", ["Hear ", "audio", "it"]),
}


@pytest.mark.parametrize("case", list(CLEANED))
def test_line_breaks_of_placeholders_are_removed(tmp_path: Path, case: str) -> None:
    text, expected = CLEANED[case]
    media = {"image": "a.png"} if "<image>" in text else {"video": "f.mp4"} if "<video>" in text else {}
    audio = {"audio": ["q.wav"]} if "<audio>" in text else {}
    row = {"set": "videos" if "video" in media else "images", "id": "x", "conversations": turns(text, "yes"), **media, **audio}
    parts = reader(tmp_path, row)[0].messages[0].content
    assert [part.text if part.type == "text" else part.type for part in parts] == expected


def test_inserted_id_is_the_answer_to_noise_and_end_tag_cuts_the_last(tmp_path: Path) -> None:
    row = {"set": "images", "id": "n", "audio": ["q.wav", "q.wav"], "inserted_id": 1, "end_tag": False,
           "conversations": turns("<audio>", "nice weather", "<audio>", "it is no")}
    found = reader(tmp_path, row)[0].messages
    assert [(message.state, message.cut) for message in found] == [(None, False), ("noise", False), (None, False), (None, True)]


def test_joined_rows_have_a_set_for_each_image(tmp_path: Path) -> None:
    row = {"set": ["images", "videos"], "id": ["p", "q"], "image": ["a.png", "f.mp4"],
           "conversations": turns("<image>\n1?", "1", "<image>\n2?", "2")}
    sample = reader(tmp_path, row)[0]
    assert sample.id == "p+q"
    assert sample.messages[2].content[0].path == str(tmp_path / "videos" / "f.mp4")


def test_share_draws_the_same_rows_in_their_order(tmp_path: Path) -> None:
    rows = [{"id": str(number), "conversations": turns("?", "!")} for number in range(50)]
    names = [[sample.id for sample in map(found.__getitem__, range(len(found)))]
             for found in (reader(tmp_path, *rows, fraction=0.2) for _ in range(2))]
    assert len(names[0]) == 10 and names[0] == names[1] == sorted(names[0], key=int)


def test_listing_finds_what_a_parser_finds(tmp_path: Path) -> None:
    values = [{"a": "br[a]ck,ets \\ \" { 新"}, [1, [2, {}]], "x,]", 5, {"b": {"c": []}}, "\\"]
    for indent in (None, 1):
        (tmp_path / "l.json").write_text("\n " + json.dumps(values, indent=indent) + "\n")
        found = Listing(tmp_path / "l.json")
        assert [json.loads(found[index]) for index in range(len(found))] == values


FILES = {
    "missing": (None, "does not exist, but should hold conversations"),
    "empty": ("", "is empty, but must hold a JSON list"),
    "no list": ("{}", "is not a JSON list, but must hold"),
    "no row": (" [ ] ", "is an empty list, but must hold at least one"),
    "cut short": ('[{"a": 1},\n {"b": "x', "row 1, which begins in line 1, or the list itself never ends"),
}


@pytest.mark.parametrize("case", list(FILES))
def test_file_that_is_no_list_is_a_sentence(tmp_path: Path, case: str) -> None:
    text, message = FILES[case]
    if text is not None:
        (tmp_path / "rows.json").write_text(text)
    with pytest.raises(DataError, match=message):
        VitaJson(str(tmp_path / "rows.json")).build()


GOOD = {"set": "images", "id": "g", "image": "a.png", "conversations": turns("<image>\nWhat?", "a cat")}
BROKEN = {
    "object": (5, "not an object", "is 5, but must be a JSON object"),
    "id": ({**GOOD, "id": None}, "missing id", "id is missing, but must be a word or a number"),
    "key": ({**GOOD, "inserted_idd": 1}, "unknown key", "unknown key 'inserted_idd'.* Did you mean 'inserted_id'"),
    "turns": ({**GOOD, "conversations": "x"}, "wrong type", 'conversations is "x", but must be a list of turns'),
    "value": ({**GOOD, "conversations": [{"from": "human"}, *turns("", "a")[1:]]}, "wrong type", "has no text in value"),
    "file name": ({**GOOD, "image": 3}, "wrong type", "image is 3, but must be a file's name"),
    "end_tag": ({**GOOD, "end_tag": "no"}, "wrong type", 'end_tag is "no", but must be true or false'),
    "start": ({**GOOD, "conversations": turns("<image>", "a", "b")}, "wrong roles", "come from human, gpt, human, but must"),
    "count": ({**GOOD, "image": ["a.png", "b.png"]}, "placeholders", "1 <image> in the questions, but 2 files in image"),
    "set": ({**GOOD, "set": "imgaes"}, "unknown set", "'imgaes', but `folders` has .* Did you mean 'images'"),
    "no set": ({**GOOD, "set": None}, "unknown set", "set is missing, but must be the name of a set"),
    "file": ({**GOOD, "image": "c.png"}, "missing file", "image is 'c.png', but there is no file"),
    "outside": ({**GOOD, "image": "x/../../videos/f.mp4"}, "path outside", r"lies outside of .*images"),
    "absolute": ({**GOOD, "image": "/a.png"}, "path outside", r"image is '/a.png', which lies outside"),
    "both": ({**GOOD, "video": "a.png", "conversations": turns("<image><video>", "a")}, "image and video", "only one of them"),
    "inserted type": ({**GOOD, "inserted_id": "1"}, "inserted_id", "must be the place of a gpt turn"),
    "inserted human": ({**GOOD, "inserted_id": 0}, "inserted_id", "must be the place of a gpt turn"),
    "inserted silent": ({**GOOD, "inserted_id": 1}, "inserted_id", "has no <audio> that could be noise"),
}


@pytest.mark.parametrize("case", list(BROKEN))
def test_broken_row_is_one_sentence_of_a_kind(tmp_path: Path, case: str) -> None:
    row, kind, message = BROKEN[case]
    rows = reader(tmp_path, GOOD, row)
    with pytest.raises(DataError, match=message) as caught:
        rows[1]
    assert caught.value.kind == kind and len(caught.value.sentences) == 1
    assert str(caught.value).startswith(f"{tmp_path / 'rows.json'}, row 1")
    assert rows.problems(0) == [] and [error.kind for error in rows.problems(1)] == [kind]


def test_row_that_is_not_json_leaves_the_others_readable(tmp_path: Path) -> None:
    rows = reader(tmp_path, GOOD)
    (tmp_path / "rows.json").write_text(f'[{json.dumps(GOOD)}, {{"id": 1 "set": "x"}}, {json.dumps(GOOD)}]')
    rows = VitaReader(rows.config)
    assert rows[2].id == "g"
    with pytest.raises(DataError, match="row 1 is not JSON") as caught:
        rows[1]
    assert caught.value.kind == "not JSON"


def test_keys_to_ignore_are_ignored(tmp_path: Path) -> None:
    assert reader(tmp_path, {**GOOD, "score": 1}, ignore=("score",))[0].id == "g"


def test_config_keeps_the_contract() -> None:
    assert isinstance(VitaJson("x"), ReaderConfig)
    with pytest.raises(ValueError, match="fraction is 0, but must be above 0 and at most 1"):
        VitaJson("x", fraction=0)
    with pytest.raises(ValueError, match="provides holds 'sound', but must be among"):
        VitaJson("x", provides=("sound",))
