"""Recordings of datasets: found by headers, decoded when asked for, a bounded number of them held."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from omnikit.contracts.types import ContentPart, Message, Sample
from omnikit.data import speech
from omnikit.data.media.audio import load_audio, save_audio
from omnikit.data.speech import WaveformCache, find_speech, in_memory, joined
from omnikit.errors import DataError

RATE = 8000


class Answers:
    """Rows whose answers are files of a folder."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Sample:
        part = ContentPart("audio", path=str(self.paths[index]))
        return Sample(str(index), (Message("user", (ContentPart("text", text="?"),)), Message("assistant", (part,))))


@pytest.fixture
def answers(tmp_path: Path) -> Answers:
    """Five rows of four files, at 8000, 16000, 22050 and 24000 Hz."""
    paths = [tmp_path / f"{rate}.wav" for rate in (8000, 16000, 22050, 24000)]
    for path in paths:
        save_audio(path, np.sin(np.arange(4321, dtype=np.float32)), int(path.stem))
    return Answers([*paths, paths[0]])


def ignore(fraction: float) -> None:
    assert 0 <= fraction <= 1


def test_recordings_are_the_decoded_files_each_once(answers: Answers) -> None:
    found = find_speech({"talk": answers}, RATE, ignore, questions=False)["talk"]
    assert len(found) == 4
    for wave, path in zip(found, answers.paths, strict=False):
        assert torch.equal(wave, torch.from_numpy(load_audio(path, RATE)))
    assert found.lengths == [len(wave) for wave in found]


def test_nothing_is_decoded_before_it_is_asked_for(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded, load = [], speech.load_waveform
    monkeypatch.setattr(speech, "load_waveform", lambda *given: decoded.append(given[2]) or load(*given))
    found = find_speech({"talk": answers}, RATE, ignore, questions=False)["talk"]
    assert decoded == []
    _ = found[2], found[2], found[0]
    assert decoded == ["2", "0"] and found.used_samples() == found.lengths[2] + found.lengths[0]


def test_what_cannot_be_read_is_named(answers: Answers) -> None:
    answers.paths[1].write_bytes(b"noise")
    with pytest.raises(DataError, match=r"Row 1: .*16000\.wav is not a readable audio file"):
        find_speech({"talk": answers}, RATE, ignore, questions=False)


def test_cache_drops_what_was_used_longest_ago() -> None:
    cache, loaded = WaveformCache(limit=4 * 250), []

    def wave(key: bytes) -> Tensor:
        return cache.get(key, lambda: loaded.append(key) or torch.zeros(100))

    for key in (b"a", b"b", b"a", b"c", b"a", b"b"):
        wave(key)
    assert loaded == [b"a", b"b", b"c", b"b"] and cache.size == sum(wave.nbytes for wave in cache.held.values()) <= cache.limit


def test_joined_recordings_are_those_of_each_in_order() -> None:
    one, two = in_memory([torch.zeros(3), torch.ones(2)]), in_memory([torch.full((4,), 2.0)])
    both = joined([one, two])
    assert [wave.tolist() for wave in both] == [[0, 0, 0], [1, 1], [2, 2, 2, 2]] and both.lengths == [3, 2, 4]
    assert one.used_samples() == 5
