"""`omnikit data convert` writes any format into any, and `omnikit data check FILE` recognises each."""

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from omnikit.cli import main
from omnikit.contracts.types import ContentPart, Sample
from omnikit.data.batch.signals import load_waveform
from omnikit.data.formats import recognise
from omnikit.data.media.image import decode_image, load_image

SPOKEN = {"messages_jsonl": "rows.jsonl", "llava_json": "rows.json", "sharegpt": "rows.jsonl", "openai_messages": "rows.jsonl",
          "nemo_manifest": "rows.json", "kaldi": "rows.tsv", "hf_dataset": "rows.parquet", "webdataset": "rows.tar"}
SEEN = [name for name in SPOKEN if name not in ("nemo_manifest", "kaldi")]


def save(folder: Path, name: str, *rows: object) -> Path:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / name


def conversation(index: int, *asked: dict[str, object]) -> dict[str, object]:
    return {"id": f"r{index}", "messages": [{"role": "user", "content": [*asked]},
                                            {"role": "assistant", "content": [{"type": "text", "text": f"answer {index}"}]}]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two datasets of ours: spoken questions, and questions about images."""
    folder = tmp_path_factory.mktemp("rows")
    for index in range(3):
        soundfile.write(folder / f"{index}.wav", (np.arange(1600) * (index + 1)).astype(np.int16), 16000)
        Image.new("RGB", (4 + index, 3), (index, 9, 9)).save(folder / f"{index}.png")
    save(folder, "spoken.jsonl", *(conversation(i, {"type": "audio", "path": f"{i}.wav"}, {"type": "text", "text": "and?"})
                                   for i in range(3)))
    save(folder, "seen.jsonl", *(conversation(i, {"type": "image", "path": f"{i}.png"}, {"type": "text", "text": "what?"})
                                 for i in range(3)))
    return folder


def described(sample: Sample) -> list[tuple[str, str, str | None, bytes]]:
    return [(message.role, part.type, part.text if part.type == "text" else None, media(part))
            for message in sample.messages for part in message.content]


def media(part: ContentPart) -> bytes:
    kinds = {"text": lambda: b"", "audio": lambda: load_waveform(part, 16000, "r").tobytes(),
             "image": lambda: pixels(part).tobytes()}
    return kinds[part.type]()


def pixels(part: ContentPart) -> np.ndarray:
    return load_image(part.path or "") if part.data is None else decode_image(part.data, name="", most=99)


def converted(source: Path, out: Path, reader: str) -> Path:
    assert main(["data", "convert", str(source), str(out), "--to", reader]) == 0
    return out


@pytest.mark.parametrize(("rows", "first", "second"), [
    *(("spoken", *pair) for pair in product(SPOKEN, SPOKEN)), *(("seen", *pair) for pair in product(SEEN, SEEN))])
def test_rows_come_back_as_they_were(folder: Path, tmp_path: Path, rows: str, first: str, second: str) -> None:
    (tmp_path / "1").mkdir()
    there = converted(folder / f"{rows}.jsonl", tmp_path / "1" / SPOKEN[first], first)
    found = recognise(converted(there, tmp_path / SPOKEN[second], second)).rows
    original = recognise(folder / f"{rows}.jsonl").rows
    assert [described(found[i]) for i in range(3)] == [described(original[i]) for i in range(3)]


@pytest.mark.parametrize("reader", list(SPOKEN))
def test_check_names_the_reader_of_a_file(folder: Path, tmp_path: Path, reader: str,
                                          capsys: pytest.CaptureFixture[str]) -> None:
    out = converted(folder / "spoken.jsonl", tmp_path / SPOKEN[reader], reader)
    assert main(["data", "check", str(out)]) == 0
    printed = capsys.readouterr().out
    assert f"{out} is for the reader {reader}: its rows hold text, audio, answer" in printed.replace(" transcript,", "")
    assert f"+data/NAME={reader}" in printed


def test_check_of_a_file_counts_bad_rows(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "noise.wav").write_bytes(b"noise")
    path = save(tmp_path, "rows.jsonl", conversation(0, {"type": "audio", "path": "noise.wav"}),
                conversation(1, {"type": "audio", "path": "none.wav"}), conversation(2, {"type": "text", "text": "fine"}))
    assert main(["data", "check", str(path)]) == 1
    printed = capsys.readouterr().out
    assert "3 rows, 2 bad" in printed and "unreadable audio" in printed and "missing file" in printed


def test_check_of_a_file_names_both_rows_of_one_id(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(tmp_path, "rows.jsonl", *(conversation(number, {"type": "text", "text": "q"}) for number in (0, 1, 0)))
    assert main(["data", "check", str(path)]) == 1
    assert "Row r0 is row 2 of rows.jsonl, but row 0 has the same id" in capsys.readouterr().out


@pytest.mark.parametrize(("arguments", "message"), [
    (["none.jsonl", "out.json"], "none.jsonl does not exist"),
    (["seen.jsonl", "out"], "out ends in nothing, which stands for no format; name one with --to"),
    (["seen.jsonl", "out.tsv"], "Row r0 has 0 recordings and 1 answers, but a table of speech holds one of each"),
    (["seen.jsonl", "spoken.jsonl"], "spoken.jsonl exists already"),
    (["seen.jsonl", "no/out.jsonl"], "there is no folder no; make it first"),
    (["seen.jsonl", "out.jsonl", "--to", "openai"], "'openai' is not a reader. Did you mean 'openai_messages'"),
    (["seen.jsonl", "out.jsonl", "rot=x"], "rot"),
    (["0.png", "out.jsonl"], "0.png is of no format that an installed reader recognises; name its reader with --from"),
], ids=["missing", "ending", "does not fit", "exists", "folder", "writer", "field", "no dataset"])
def test_what_cannot_be_converted_is_one_sentence(folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str],
                                                  message: str, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(folder)
    assert main(["data", "convert", *arguments]) == 2
    printed = capsys.readouterr().err
    assert message in printed and len(printed.splitlines()) == 1
    assert not (folder / "out.tsv").exists()


def test_what_a_format_cannot_hold_is_counted(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = conversation(0, {"type": "audio", "path": str(folder / "0.wav"), "text": "said"})
    converted(save(tmp_path, "rows.jsonl", row), tmp_path / "out.json", "llava_json")
    assert "llava_json cannot hold all of it; left out: 1 transcripts." in capsys.readouterr().out
