"""Files that `datasets` and `webdataset` wrote themselves: rows and media come out as they went in."""

import io
import os
import pickle
from pathlib import Path

import datasets
import numpy as np
import pytest
import soundfile
import webdataset
from omnikit_datasets.config import HFDataset, WebDataset
from PIL import Image

from omnikit.contracts.types import ContentPart
from omnikit.data.batch.signals import load_waveform
from omnikit.data.media.image import decode_image
from omnikit.errors import DataError, OmnikitError

ROWS = 6


def audio(index: int) -> np.ndarray:
    return (np.arange(160 * (index + 1)) * (index + 3) % 3000).astype(np.int16)


def wav(index: int) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, audio(index), 16000, format="WAV")
    return buffer.getvalue()


def png(index: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (index + 2, 3), (index, 2, 3)).save(buffer, "PNG")
    return buffer.getvalue()


def waveform(part: ContentPart) -> np.ndarray:
    return np.round(load_waveform(part, 16000, "r") * 32768).astype(np.int16)


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of two columns, the audio embedded, in the three ways that the library stores it."""
    folder = tmp_path_factory.mktemp("hf")
    rows = {"audio": [{"bytes": wav(i), "path": f"{i}.wav"} for i in range(ROWS)],
            "sentence": [f"row {i}" for i in range(ROWS)]}
    made = datasets.Dataset.from_dict(rows).cast_column("audio", datasets.Audio())
    made.save_to_disk(str(folder / "disk"))
    datasets.DatasetDict({"train": made, "test": made}).save_to_disk(str(folder / "splits"))
    made.to_parquet(str(folder / "rows.parquet"))
    return folder


@pytest.mark.parametrize(("name", "split"), [("disk", None), ("splits", "test"), ("rows.parquet", None)])
def test_hugging_face_dataset_of_speech(speech: Path, name: str, split: str | None) -> None:
    reader = HFDataset(str(speech / name), split=split, question="Transcribe.").build()
    question, answer = reader[4].messages
    assert [len(reader), question.content[0].text, answer.content[0].text] == [ROWS, "row 4", "row 4"]
    np.testing.assert_array_equal(waveform(question.content[0]), audio(4))


def test_split_has_to_be_chosen_where_there_are_several(speech: Path) -> None:
    with pytest.raises(OmnikitError, match="has the splits train, test; choose one"):
        HFDataset(str(speech / "splits")).build()


def test_dataset_that_is_not_in_the_cache_is_a_sentence() -> None:
    with pytest.raises(DataError, match="is not a dataset that can be opened here"):
        HFDataset("nobody/nothing").build()


def test_hugging_face_conversations_with_images(tmp_path: Path) -> None:
    turns = [[{"from": "human", "value": "<image>\nwhat?"}, {"from": "gpt", "value": f"answer {i}"}] for i in range(2)]
    made = datasets.Dataset.from_dict(
        {"conversations": turns, "images": [[{"bytes": png(i), "path": None}] for i in range(2)]},
        features=datasets.Features({"conversations": [{"from": datasets.Value("string"), "value": datasets.Value("string")}],
                                    "images": [datasets.Image()]}))
    made.to_parquet(str(tmp_path / "train.parquet"))
    image, text = HFDataset(str(tmp_path)).build()[1].messages[0].content
    assert [decode_image(image.data or b"", name="x", most=99).shape, text.text] == [(3, 3, 3), "what?"]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards of three samples, as WebDataset's own writer has them."""
    folder = tmp_path_factory.mktemp("shards")
    for shard in range(2):
        with webdataset.TarWriter(str(folder / f"d-{shard:06d}.tar")) as writer:
            for row in range(3 * shard, 3 * shard + 3):
                writer.write({"__key__": f"s/{row:04d}", "wav": wav(row), "txt": f"row {row}", "json": {"question": "Say it."}})
    return folder


@pytest.mark.parametrize("path", ["", "d-{000000..000001}.tar", "d-*.tar"], ids=["folder", "range", "pattern"])
def test_tar_shards_in_any_order(shards: Path, path: str) -> None:
    reader = WebDataset(str(shards / path) if path else str(shards)).build()
    assert len(reader) == ROWS
    for row in (5, 0, 3, 2):
        sample = reader[row]
        assert [sample.id, sample.messages[0].content[1].text, sample.messages[1].content[0].text] == [
            f"s/{row:04d}", "Say it.", f"row {row}"]
        np.testing.assert_array_equal(waveform(sample.messages[0].content[0]), audio(row))


def test_reader_of_shards_goes_to_other_processes(shards: Path) -> None:
    reader = WebDataset(str(shards)).build()
    assert reader[0].id == pickle.loads(pickle.dumps(reader))[0].id


def test_json_of_a_sample_names_media_beside_it(tmp_path: Path) -> None:
    row = {"messages": [{"role": "user", "content": [{"type": "image", "path": "0.png"}, {"type": "text", "text": "what?"}]},
                        {"role": "assistant", "content": "it"}]}
    with webdataset.TarWriter(str(tmp_path / "a.tar")) as writer:
        writer.write({"__key__": "a", "0.png": png(3), "json": row})
    part = WebDataset(str(tmp_path / "a.tar")).build()[0].messages[0].content[0]
    assert part.data == png(3)


def test_shard_that_was_written_again_has_a_new_index(tmp_path: Path) -> None:
    for time, texts in enumerate((["a"], ["b", "c"])):
        with webdataset.TarWriter(str(tmp_path / "a.tar")) as writer:
            for row, text in enumerate(texts):
                writer.write({"__key__": str(row), "question.txt": "q", "answer": text})
        os.utime(tmp_path / "a.tar", (time, time))
        reader = WebDataset(str(tmp_path / "a.tar"), columns={"question": "transcript"}).build()
        assert [reader[row].messages[1].content[0].text for row in range(len(reader))] == texts


@pytest.mark.parametrize(("cut", "message"), [(lambda data: data[:2000], "is cut short|is not a readable tar"),
                                              (lambda data: b"\x1f\x8b" + data, "is compressed"),
                                              (lambda data: b"x" * 4000, "not a readable tar")], ids=["cut", "gz", "noise"])
def test_damaged_shard_is_a_sentence(shards: Path, tmp_path: Path, cut: object, message: str) -> None:
    assert callable(cut)
    (tmp_path / "x.tar").write_bytes(cut((shards / "d-000000.tar").read_bytes()))
    with pytest.raises(DataError, match=message):
        WebDataset(str(tmp_path / "x.tar")).build()
