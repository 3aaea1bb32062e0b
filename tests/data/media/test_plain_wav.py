"""WAV files that are read without libsndfile give its samples; a file that promises something else is left to it."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from omnikit.data.media.audio import audio_length, decode_audio
from omnikit.data.media.plain_wav import plain_wav

RATE = 16000


def wav(channels: int = 1, samples: int = 1601, rate: int = RATE, subtype: str = "PCM_16") -> bytes:
    buffer = io.BytesIO()
    values = np.random.default_rng(0).uniform(-1, 1, (samples, channels))
    soundfile.write(buffer, values, rate, format="WAV", subtype=subtype)
    return buffer.getvalue()


def resized(data: bytes) -> bytes:
    """Give a RIFF file with the size that it has."""
    return data[:4] + (len(data) - 8).to_bytes(4, "little") + data[8:]


LIST = b"LIST\x04\0\0\0INFO"
PLAIN = {"mono": wav(), "stereo": wav(2), "other rate": wav(rate=44100),
         "chunk before": resized(wav()[:36] + LIST + wav()[36:]), "chunk behind": resized(wav() + LIST)}
OTHERS = {"24 bits": wav(subtype="PCM_24"), "floats": wav(subtype="FLOAT"), "three channels": wav(3),
          "no samples": wav(samples=0), "joined": wav() + wav(),
          "cut short": wav()[:-100], "cut short, its size right": resized(wav()[:-100]),
          "written to a pipe": wav()[:40] + b"\xff" * 4 + wav()[44:], "a rate of 500 Hz": wav(rate=500),
          "half a frame": resized(wav()[:-1]), "header alone": wav()[:36], "nothing": b""}


@pytest.mark.parametrize("data", PLAIN.values(), ids=PLAIN)
def test_samples_are_those_of_libsndfile(data: bytes) -> None:
    assert plain_wav(io.BytesIO(data))
    expected, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    found = decode_audio(data, rate, name="it", seconds=None)
    np.testing.assert_array_equal(found, expected.mean(axis=1, dtype=np.float32))
    assert audio_length(data) == len(found)


@pytest.mark.parametrize("data", OTHERS.values(), ids=OTHERS)
def test_other_files_are_left_to_libsndfile(data: bytes) -> None:
    assert plain_wav(io.BytesIO(data)) is None


def test_no_more_than_the_first_seconds_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav(samples=RATE))
    with (tmp_path / "a.wav").open("rb", buffering=0) as file:
        found = plain_wav(file)
        assert found and len(found.read(file, 0.25)) == RATE // 4
        assert file.tell() == 44 + 2 * RATE // 4
