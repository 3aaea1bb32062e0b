"""`omnikit data check`: a file with many kinds of bad rows; each row is named with its kind, and the good ones are not."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from omnikit.cli import main
from omnikit.data.media.image import save_image
from omnikit.data.media.video import save_video

RECIPE = """\
# @package _global_
# A small model of images and speech; its stages learn from VITA's JSON.
defaults:
  - /recipe
  - /vision/encoder: internvit_tiny_random
  - /vision/projector: linear
  - /audio/encoder: mel_cnn_tiny_random
  - /audio/projector: linear
  - /backbone: llama_tiny_random
  - /text/head: lm
  - /data/shown: vita_json
  - /data/said: messages_jsonl
  - _self_
data:
  shown: {path: rows.json, folders: {images: images, videos: videos}, audio: recordings}
  said: {path: rows.jsonl}
backbone: {context: 512}
stages:
  see:
    train: {vision: full, backbone: full}
    loss: {text: 1.0}
    data: {shown: 1.0, said: 1.0}
    trainer: {max_steps: 1, batch_size: 2}
"""


def turns(*texts: str) -> list[dict[str, str]]:
    return [{"from": ("human", "gpt")[place % 2], "value": text} for place, text in enumerate(texts)]


def seen(name: str, **changes: object) -> dict[str, object]:
    asked = turns("<image>\nWhat?", "a cat")
    return {"set": "images", "id": name, "image": "a.png", "conversations": asked, **changes}


def spoken(name: str, file: str, **changes: object) -> dict[str, object]:
    return {"id": name, "audio": file, "conversations": turns("<audio>", "two"), **changes}


def filmed(name: str, file: str) -> dict[str, object]:
    return {"set": "videos", "id": name, "video": file, "conversations": turns("<video>\nWhich way?", "left")}


GOOD = [seen("image"), filmed("video", "f.mp4"), spoken("sound", "q.wav"), spoken("noise", "q.wav", inserted_id=1),
        {"id": "text", "conversations": turns("Why?", "so")}]
BAD: list[tuple[str, object]] = [
    ("not an object", 5),
    ("missing id", {**seen("x"), "id": None}),
    ("duplicate id", seen("image")),
    ("wrong roles", seen("roles", conversations=turns("<image>", "a", "b"))),
    ("wrong type", seen("type", image=3)),
    ("unknown key", seen("key", imge="b.png")),
    ("placeholders", seen("count", image=["a.png", "a.png"])),
    ("unknown set", seen("set", set="pictuers")),
    ("missing file", seen("file", image="none.png")),
    ("path outside", seen("outside", image="../videos/f.mp4")),
    ("image and video", seen("both", video="a.png", conversations=turns("<image><video>", "a"))),
    ("inserted_id", seen("inserted", inserted_id=1)),
    ("unreadable image", seen("cut-image", image="cut.png")),
    ("unreadable image", seen("no-image", image="text.png")),
    ("unreadable video", filmed("cut-video", "cut.mp4")),
    ("unreadable audio", spoken("cut-sound", "cut.wav")),
    ("empty audio", spoken("empty-sound", "empty.wav")),
    ("wrong length", spoken("short-sound", "short.wav")),
    ("empty answer", seen("answer", conversations=turns("<image>", " "))),
    ("too long", seen("long", conversations=turns("<image>" + "why " * 2000, "so"))),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("check")
    for name in ("images", "videos", "recordings/audio"):
        (found / name).mkdir(parents=True)
    chance = np.random.default_rng(0)
    save_image(found / "images" / "a.png", chance.integers(0, 255, (64, 64, 3), dtype=np.uint8))
    save_video(found / "videos" / "f.mp4", chance.integers(0, 255, (8, 32, 32, 3), dtype=np.uint8), 4)
    audio = found / "recordings" / "audio"
    soundfile.write(audio / "q.wav", np.sin(np.arange(16000) / 9), 16000)
    soundfile.write(audio / "short.wav", np.ones(20), 16000)
    soundfile.write(audio / "empty.wav", np.ones(0), 16000)
    for whole in ("images/a.png", "videos/f.mp4", "recordings/audio/q.wav"):
        data = (found / whole).read_bytes()
        (found / whole).with_stem("cut").write_bytes(data[: len(data) // 2])
    (found / "images" / "text.png").write_text("no image")
    (found / "small.yaml").write_text(RECIPE)
    values = [json.dumps(row) for row in [*GOOD, *(row for _, row in BAD)]]
    (found / "rows.json").write_text("[" + ",\n".join([*values, '{"id": "broken" "set": 1}']) + "]")
    good = {"id": "ok", "messages": [{"role": "user", "content": "two"}, {"role": "assistant", "content": "two"}]}
    twice = {**good, "id": "twice", "messages": [good["messages"][0], *good["messages"]]}
    (found / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in (good, twice)))
    return found


@pytest.fixture(scope="module")
def report(folder: Path) -> dict[str, object]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["data", "check", "small.yaml", "--report", "bad.json"]) == 1
    found: dict[str, object] = json.loads((folder / "bad.json").read_text())
    return found


EXPECTED = [*((kind, len(GOOD) + place) for place, (kind, _) in enumerate(BAD)), ("not JSON", len(GOOD) + len(BAD))]
NAMES = {len(GOOD) + place: row["id"] for place, (_, row) in enumerate(BAD) if isinstance(row, dict) and row["id"]}


@pytest.mark.parametrize(("kind", "index"), EXPECTED, ids=[f"{kind} {index}" for kind, index in EXPECTED])
def test_bad_row_is_named_with_its_kind(report: dict[str, object], kind: str, index: int) -> None:
    problems = [problem for problem in report["problems"] if (problem["dataset"], problem["index"]) == ("shown", index)]
    assert [(problem["kind"], problem["row"]) for problem in problems] == [(kind, NAMES.get(index, ""))]
    name, sentence = NAMES.get(index, ""), problems[0]["sentence"]
    assert f"row {index} ({name})" in sentence or (f"Row {name}" if name else f"row {index}") in sentence


def test_good_rows_are_not_named_and_kinds_are_counted(report: dict[str, object]) -> None:
    assert {problem["index"] for problem in report["problems"] if problem["dataset"] == "shown"} == {i for _, i in EXPECTED}
    shown = {"rows": len(GOOD) + len(EXPECTED), "bad": len(EXPECTED)}
    assert report["datasets"] == {"shown": shown, "said": {"rows": 2, "bad": 1}}
    assert len(report["kinds"]) >= 12 and report["kinds"]["unreadable image"] == 2
    assert [(p["row"], p["kind"]) for p in report["problems"] if p["dataset"] == "said"] == [("twice", "wrong roles")]


def test_table_names_rows_and_kinds(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(folder)
    assert main(["data", "check", "small.yaml", "said"]) == 1
    printed = capsys.readouterr().out
    assert printed.startswith("said: 2 rows, 1 bad\n") and "shown" not in printed
    assert "wrong roles       1\n" in printed
    assert "Row twice has the turns user, user, assistant, but user and assistant must take turns" in printed


def test_dataset_that_no_stage_reads_is_read_as_well(folder: Path, report: dict[str, object],
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    unread = "  unread: {path: rows.json, folders: {images: images, videos: videos}, audio: recordings}\n"
    picked = RECIPE.replace("  - _self_\n", "  - /data/unread: vita_json\n  - _self_\n", 1)
    (folder / "unread.yaml").write_text(picked.replace("data:\n", f"data:\n{unread}", 1))
    assert main(["data", "check", "unread.yaml", "unread", "--report", "unread.json"]) == 1
    found = json.loads((folder / "unread.json").read_text())["problems"]
    assert found == [{**problem, "dataset": "unread", "sentence": problem["sentence"].replace("of shown", "of unread")}
                     for problem in report["problems"] if problem["dataset"] == "shown"]


def test_other_processes_find_the_same(folder: Path, report: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert main(["data", "check", "small.yaml", "--workers", "2", "--report", "again.json"]) == 1
    assert json.loads((folder / "again.json").read_text()) == report


def test_dataset_without_a_bad_row_ends_with_0(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (folder / "good.json").write_text(json.dumps(GOOD))
    assert main(["data", "check", "small.yaml", "shown", "data.shown.path=good.json"]) == 0


def test_dataset_that_cannot_be_opened_is_a_problem_of_its_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    assert main(["data", "check", "small.yaml", "data.shown.path=none.json"]) == 1
    printed = capsys.readouterr().out
    assert "none.json does not exist, but should hold conversations" in printed and "said: 2 rows, 1 bad" in printed


MISTAKES: dict[str, tuple[list[str], str]] = {
    "dataset": (["sad"], "'sad' is not a dataset of small. Did you mean 'said'? It has: shown, said.\n"),
    "report": (["--report", "none/bad.json"], "--report is none/bad.json, which cannot be written: there is no folder none;"),
    "report folder": (["--report", "videos"], "--report is videos, which cannot be written: it is a folder;"),
}


@pytest.mark.parametrize("case", list(MISTAKES))
def test_mistake_is_one_sentence(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    words, message = MISTAKES[case]
    monkeypatch.chdir(folder)
    assert main(["data", "check", "small.yaml", *words]) == 2
    assert message in capsys.readouterr().err
