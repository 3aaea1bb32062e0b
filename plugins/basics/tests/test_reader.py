"""The JSONL reader: rows become samples, broken rows become one sentence that names file and line."""

import json
from pathlib import Path

import pytest
from omnikit_basics.config import MessagesJsonl

from omnikit.contracts.configs import ReaderConfig
from omnikit.contracts.types import ContentPart, Message, Sample
from omnikit.errors import ConfigError, DataError, OmnikitError

GOOD = {
    "id": "a1",
    "messages": [
        {"role": "system", "content": "be short"},
        {"role": "user", "content": [{"type": "audio", "path": "a1.wav", "text": "hello there"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "hi"}]},
    ],
    "facts": {"kind": "greeting"},
}


def write(folder: Path, *lines: object) -> Path:
    (folder / "a1.wav").write_bytes(b"")
    text = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (folder / "rows.jsonl").write_text("\n".join(text), encoding="utf-8")
    return folder / "rows.jsonl"


def part(**keys: object) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": [keys]}]}


def message_of(role: str, **keys: object) -> dict[str, object]:
    return {"messages": [{"role": role, "content": "x", **keys}]}


def test_row_becomes_a_sample(tmp_path: Path) -> None:
    sample = MessagesJsonl(str(write(tmp_path, GOOD))).build()[0]
    audio = ContentPart("audio", "hello there", str(tmp_path / "a1.wav"))
    assert sample == Sample(
        "a1",
        (
            Message("system", (ContentPart("text", "be short"),)),
            Message("user", (audio,)),
            Message("assistant", (ContentPart("text", "hi"),)),
        ),
        {"kind": "greeting"},
    )


def test_answer_may_be_to_noise_and_may_break_off(tmp_path: Path) -> None:
    answer = {"role": "assistant", "content": "nice", "state": "noise", "cut": True}
    sample = MessagesJsonl(str(write(tmp_path, {"messages": [{"role": "user", "content": "hm"}, answer]}))).build()[0]
    assert sample.messages[1] == Message("assistant", (ContentPart("text", "nice"),), "noise", True)


def test_blank_lines_are_no_rows_and_lines_stay_counted(tmp_path: Path) -> None:
    reader = MessagesJsonl(str(write(tmp_path, "", {**GOOD, "id": "ü"}, "  ", GOOD, "{"))).build()
    assert [len(reader), reader[0].id, reader[1].id] == [3, "ü", "a1"]
    with pytest.raises(DataError, match=r"rows\.jsonl, line 5 is not JSON"):
        reader[2]


def test_split_names_a_file_in_a_folder_and_root_the_media(tmp_path: Path) -> None:
    write(tmp_path, GOOD).rename(tmp_path / "test.jsonl")
    (tmp_path / "media").mkdir()
    (tmp_path / "a1.wav").rename(tmp_path / "media" / "a1.wav")
    reader = MessagesJsonl(str(tmp_path), split="test", root=str(tmp_path / "media")).build()
    assert reader[0].messages[1].content[0].path == str(tmp_path / "media" / "a1.wav")


def test_row_without_id_is_named_by_its_line(tmp_path: Path) -> None:
    rows = MessagesJsonl(str(write(tmp_path, "", part(type="text", text="x")))).build()
    assert rows[0].id == "2"


def test_config_keeps_the_contract() -> None:
    assert isinstance(MessagesJsonl("x"), ReaderConfig)
    with pytest.raises(ValueError, match="provides holds 'sound', but must be among"):
        MessagesJsonl("x", provides=("sound",))


BROKEN = {
    "not json": ('{"id": 1', "is not JSON"),
    "not utf-8": ("\udcff", "is not JSON"),
    "a list": ([1], r"the row is \[1\], but must be a JSON object"),
    "no messages": ({"id": "x"}, "messages is missing, but must be a list of at least one message"),
    "no message": ({"messages": []}, r"messages is \[\], but must be a list"),
    "unknown row key": ({**GOOD, "mesages": 1}, "unknown key 'mesages'.* Did you mean 'messages'"),
    "role": ({"messages": [{"role": "bot", "content": "x"}]}, r'messages\[0\].role is "bot", but must be one of sys'),
    "content": ({"messages": [{"role": "user"}]}, r"messages\[0\].content is missing, but must be a text or a list"),
    "state": (message_of("assistant", state="noisy"), r'messages\[0\].state is "noisy", but must be one of audio, noise, text'),
    "state of a question": (message_of("user", state="noise"), "state is .* in a message of the assistant"),
    "cut": (message_of("assistant", cut=1), r"messages\[0\].cut is 1, but must be true or false"),
    "part type": (part(type="audoi", path="a1.wav"), r'content\[0\].type is "audoi".* Did you mean \'audio\''),
    "part is text": ({"messages": [{"role": "user", "content": ["x"]}]}, r'content\[0\].type is "x", but must be'),
    "text missing": (part(type="text"), r"content\[0\].text is missing, but must be a text"),
    "text number": (part(type="audio", path="a1.wav", text=5), r"content\[0\].text is 5, but must be a text"),
    "path missing": (part(type="audio"), r"content\[0\].path is missing, but must be the path of a file"),
    "no such file": (part(type="audio", path="b.wav"), r"content\[0\].path is 'b.wav', but there is no file .*b\.wav"),
    "unknown part key": (part(type="text", text="x", path="a"), r"content\[0\] has the unknown key 'path'"),
    "codes": (part(type="audio", path="a1.wav", codes=[1, -2]), r"content\[0\].codes is \[1, -2\], but must be"),
    "codes of two lengths": (part(type="audio", path="a1.wav", codes=[[1, 2], [3]]),
                             r"codes is \[\[1, 2\], \[3\]\], but must be"),
    "facts": ({**GOOD, "facts": {"a": 1}}, "facts is .* but must be a mapping of words to words"),
}


@pytest.mark.parametrize("case", list(BROKEN))
def test_broken_row_is_one_sentence_with_file_and_line(tmp_path: Path, case: str) -> None:
    row, message = BROKEN[case]
    path = write(tmp_path, GOOD)
    text = row if isinstance(row, str) else json.dumps(row)
    path.write_bytes(path.read_bytes() + b"\n" + text.encode(errors="surrogateescape"))
    with pytest.raises(DataError, match=message) as caught:
        MessagesJsonl(str(path)).build()[1]
    assert str(caught.value).startswith(f"{path}, line 2")
    assert len(caught.value.sentences) == 1


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"path": "none.jsonl"}, "none.jsonl does not exist"),
        ({"path": "."}, "is the folder .* but split is empty"),
        ({"path": ".", "split": "dev"}, "dev.jsonl does not exist"),
        ({"path": "rows.jsonl", "split": "dev"}, "split is 'dev', but path is the single file"),
        ({"path": "empty.jsonl"}, "empty.jsonl is empty, but must hold at least one row"),
    ],
    ids=["missing", "folder", "split", "file and split", "empty"],
)
def test_dataset_that_is_not_there_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: dict[str, str], message: str
) -> None:
    write(tmp_path, GOOD)
    (tmp_path / "empty.jsonl").write_text("\n\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OmnikitError, match=message):
        MessagesJsonl(**keys).build()


def test_folder_without_split_is_the_configuration_s_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="set split to"):
        MessagesJsonl(str(tmp_path)).build()
