"""NeMo manifests, Kaldi folders and tables become samples: a recording, its transcript, an answer."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from omnikit_datasets.config import Kaldi, NemoManifest

from omnikit.contracts.types import Sample
from omnikit.errors import DataError

RAMP = np.arange(16000, dtype=np.int16)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "a.wav", RAMP, 16000)
    return tmp_path


def manifest(folder: Path, **keys: object) -> str:
    (folder / "m.json").write_text(json.dumps({"audio_filepath": "a.wav", "text": "hello", **keys}) + "\n")
    return str(folder / "m.json")


def texts(sample: Sample) -> list[list[tuple[str, str | None]]]:
    return [[(part.type, part.text) for part in message.content] for message in sample.messages]


def test_manifest_row_is_transcribed(folder: Path) -> None:
    sample = NemoManifest(manifest(folder, duration=1.0), question="Transcribe.").build()[0]
    assert texts(sample) == [[("audio", "hello"), ("text", "Transcribe.")], [("text", "hello")]]
    assert sample.messages[0].content[0].path == str(folder / "a.wav")


def test_manifest_row_may_have_an_answer_in_another_key(folder: Path) -> None:
    sample = NemoManifest(manifest(folder, translation="hallo"), columns={"answer": "translation"}).build()[0]
    assert texts(sample) == [[("audio", "hello")], [("text", "hallo")]]


@pytest.mark.parametrize("keys", [{"offset": 0.25, "duration": 0.5}, {"offset": 0, "duration": 0.5}, {"offset": 0.5}],
                         ids=["middle", "begin", "end"])
def test_offset_and_duration_cut_the_recording(folder: Path, keys: dict[str, float]) -> None:
    part = NemoManifest(manifest(folder, **keys)).build()[0].messages[0].content[0]
    first = int(keys["offset"] * 16000)
    assert part.audio is not None
    np.testing.assert_array_equal(np.round(part.audio * 32768).astype(np.int16), RAMP[first:first + 8000])


@pytest.mark.parametrize(("keys", "message"), [
    ({"offset": 0.9, "duration": 0.5}, "end behind the recording, which has 1.00 s"),
    ({"duration": "long"}, 'duration is "long", but must be a number of seconds'),
    ({"audio_filepath": "b.wav"}, "is 'b.wav', but there is no file"),
    ({"text": 5}, "transcript is 5, but must be a text"),
    ({"text": None}, "answer is missing, but must be a text"),
], ids=["beyond", "duration", "missing", "text", "no text"])
def test_broken_row_is_one_sentence(folder: Path, keys: dict[str, object], message: str) -> None:
    path = manifest(folder, **keys)
    with pytest.raises(DataError, match=message) as caught:
        NemoManifest(path).build()[0]
    assert str(caught.value).startswith(f"{path}, line 1")


def test_kaldi_folder_with_segments(folder: Path) -> None:
    (folder / "wav.scp").write_text("rec a.wav\n")
    (folder / "segments").write_text("u1 rec 0.0 0.5\nu2 rec 0.5 1.0\n")
    (folder / "text").write_text("u2 two words\nu1 one\n")
    reader = Kaldi(str(folder)).build()
    assert [texts(reader[index])[1][0][1] for index in range(2)] == ["two words", "one"]
    part = reader[0].messages[0].content[0]
    assert part.audio is not None
    np.testing.assert_array_equal(np.round(part.audio * 32768).astype(np.int16), RAMP[8000:])


def test_command_of_a_kaldi_folder_is_never_run(folder: Path) -> None:
    (folder / "wav.scp").write_text(f"u1 touch {folder}/was_run |\n")
    (folder / "text").write_text("u1 one\n")
    with pytest.raises(DataError, match="which is never run"):
        Kaldi(str(folder)).build()[0]
    assert not (folder / "was_run").exists()


TABLES = {
    "no head": ("t.tsv", "u1\ta.wav\tone, two\n"),
    "Common Voice": ("t.tsv", "client_id\tpath\tsentence\tage\nx\ta.wav\tone, two\t\n"),
    "csv": ("t.csv", 'id,audio,transcript\nu1,a.wav,"one, two"\n'),
}


@pytest.mark.parametrize("case", list(TABLES))
def test_table_with_and_without_a_head(folder: Path, case: str) -> None:
    name, text = TABLES[case]
    (folder / name).write_text(text)
    reader = Kaldi(str(folder / name)).build()
    assert [len(reader), texts(reader[0])] == [1, [[("audio", "one, two")], [("text", "one, two")]]]


def test_line_with_another_number_of_cells_is_named(folder: Path) -> None:
    (folder / "t.tsv").write_text("id\taudio\ttext\nu1\ta.wav\tone\nu2\ta.wav\n")
    with pytest.raises(DataError, match=r"t\.tsv, line 3 has 2 cells, but the table has the 3 columns id, audio, text"):
        Kaldi(str(folder / "t.tsv")).build()[1]
