"""Containers beside WAV, written by FFmpeg through PyAV: all of a file is read, and its length is known without decoding."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray

from omnikit.data.media.audio import audio_length, check_audio, decode_audio, load_audio
from omnikit.data.media.audio_arrays import as_waveform
from omnikit.errors import DataError

RATE = 16000
TONE = (0.5 * np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE)).astype(np.float32)
WRITTEN = {  # container: (codec, options of the muxer, samples that the codec may add or cut off)
    "mp3": ("libmp3lame", {}, 1), "adts": ("aac", {}, 4096), "mp4": ("aac", {}, 4096), "webm": ("libopus", {}, 400),
    "matroska": ("pcm_s16le", {}, 0), "asf": ("wmav2", {}, 8192), "flac": ("flac", {}, 0)}


def written(container: str, codec: str, options: dict[str, str], rate: int = RATE) -> bytes:
    """Give a tone in a container, as a file that its writer could go back in."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container, options=options) as out:
        stream: Any = out.add_stream(codec, rate=rate, layout="mono")
        stream.bit_rate = 64000
        resampler = av.AudioResampler(format=stream.format, layout="mono", rate=rate, frame_size=stream.frame_size or None)
        frame = av.AudioFrame.from_ndarray(TONE[None], format="fltp", layout="mono")
        frame.sample_rate = RATE
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            out.mux(stream.encode(piece))
        out.mux(stream.encode(None))
    return buffer.getvalue()


@pytest.mark.parametrize("container", list(WRITTEN))
def test_all_of_a_container_is_read_and_its_length_is_known(container: str, tmp_path: Path) -> None:
    codec, options, slack = WRITTEN[container]
    rate = 48000 if codec == "libopus" else RATE
    (tmp_path / "a").write_bytes(written(container, codec, options, rate))
    found = load_audio(tmp_path / "a", RATE)
    assert abs(len(found) - len(TONE)) <= slack
    assert audio_length(tmp_path / "a", RATE) == len(found)
    assert loudness(found, 440) > 0.45


@pytest.mark.parametrize("tag", ["1", "0"], ids=["with a tag", "without one"])
def test_joined_mp3s_are_read_as_both(tag: str) -> None:
    one = written("mp3", "libmp3lame", {"write_xing": tag, "id3v2_version": "0"})
    both = decode_audio(one + one, RATE, name="both", seconds=None)
    assert len(both) == 2 * len(decode_audio(one, RATE, name="one", seconds=None)) == audio_length(one + one)


def test_an_mp3_s_tag_states_what_is_missing() -> None:
    with pytest.raises(DataError, match=r"a.mp3 is cut short \(\d+ frames are missing\)"):
        decode_audio(written("mp3", "libmp3lame", {})[:5000], RATE, name="a.mp3", seconds=None)


@pytest.mark.parametrize("codec", ["VORBIS", "OPUS"])
def test_joined_ogg_files_are_read_as_both(codec: str) -> None:
    buffer = io.BytesIO()
    soundfile.write(buffer, TONE, RATE, format="OGG", subtype=codec)
    one = buffer.getvalue()
    alone = decode_audio(one, RATE, name="one", seconds=None)
    found = decode_audio(one + one, RATE, name="both", seconds=None)
    assert np.array_equal(found, np.concatenate([alone, alone]))
    assert audio_length(one + one) == len(found) == 2 * len(TONE)


def test_flac_from_a_pipe_has_all_samples() -> None:
    data = bytearray(written("flac", "flac", {}))
    data[21] &= 0xF0
    data[22:26] = bytes(4)  # the total number of samples: not known
    assert len(decode_audio(bytes(data), RATE, name="piped", seconds=None)) == len(TONE) == audio_length(bytes(data))


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_wav_from_a_pipe_is_read_to_its_end(size: int) -> None:
    data = bytearray(wav(TONE))
    data[40:44] = struct.pack("<I", size)
    assert len(decode_audio(bytes(data), RATE, name="piped", seconds=None)) == len(TONE) == audio_length(bytes(data))


def test_wav_with_an_empty_data_chunk_before_another_chunk_is_empty() -> None:
    with pytest.raises(DataError, match="holds no samples"):
        decode_audio(wav(TONE[:0]) + b"LIST" + struct.pack("<I", 4) + b"INFO", RATE, name="a", seconds=None)


def test_gsm_which_cannot_seek_is_read(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", TONE[:16000], 8000, subtype="GSM610")
    found = load_audio(tmp_path / "a.wav", 8000)
    assert abs(len(found) - 16000) <= 320
    assert len(found) == audio_length(tmp_path / "a.wav")


@pytest.mark.parametrize("rate", [1, 999, 2**31 - 1])
def test_a_rate_that_no_recording_has_is_refused_by_its_header(rate: int) -> None:
    data = bytearray(wav(TONE))
    data[24:28] = struct.pack("<I", rate)
    with pytest.raises(DataError, match=f"states {rate} samples a second, but a recording has 1000 to 768000"):
        decode_audio(bytes(data), RATE, name="a", seconds=None)


def test_only_the_first_seconds_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write(tmp_path / "long.wav", np.zeros(600 * RATE, np.int16), RATE, subtype="PCM_24")
    read: list[int] = []
    original = soundfile.SoundFile.read
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda self, frames, **given: read.append(frames)
                        or original(self, frames, **given))
    assert len(load_audio(tmp_path / "long.wav", RATE, seconds=30)) == 30 * RATE == sum(read)


@pytest.mark.parametrize("text", ["#EXTM3U\n#EXTINF:1,\nother.wav\n", "ffconcat version 1.0\nfile other.wav\n",
                                  "v=0\no=- 0 0 IN IP4 1.1.1.1\n"])
def test_a_text_that_names_files_opens_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "other.wav").write_bytes(wav(TONE))
    (tmp_path / "a.wav").write_text(text)
    with pytest.raises(DataError, match="is not a readable audio file"):
        load_audio(tmp_path / "a.wav", RATE)


def test_a_video_without_audio_is_refused(tmp_path: Path) -> None:
    from omnikit.data.media.video import save_video

    save_video(tmp_path / "a.mp4", np.zeros((4, 16, 16, 3), np.uint8), 4)
    with pytest.raises(DataError, match="holds no audio track"):
        check_audio(tmp_path / "a.mp4", "a.mp4")


INTEGERS: list[tuple[NDArray[Any], list[float]]] = [
    (np.array([-32768, 0, 16384], np.int16), [-1.0, 0.0, 0.5]), (np.array([0, 128, 192], np.uint8), [-1.0, 0.0, 0.5]),
    (np.array([-(2**31), 0, 2**30], np.int32), [-1.0, 0.0, 0.5]), (np.array([-1.0, 0.0, 0.5]), [-1.0, 0.0, 0.5])]


@pytest.mark.parametrize(("array", "expected"), INTEGERS, ids=[str(array.dtype) for array, _ in INTEGERS])
def test_arrays_are_scaled_by_their_type(array: NDArray[Any], expected: list[float]) -> None:
    assert as_waveform(array, "x").tolist() == expected
    assert as_waveform(torch.from_numpy(array), "x").tolist() == expected


def test_channels_of_an_array_are_averaged_on_either_axis() -> None:
    stereo = np.stack([np.full(100, 0.5), np.zeros(100)])
    assert as_waveform(stereo, "x").tolist() == as_waveform(stereo.T, "x").tolist() == [0.25] * 100


REFUSED: list[tuple[object, str]] = [
    ([float("nan")], "not finite numbers"), ([float("inf")], "not finite numbers"), (np.zeros(0), "holds no samples"),
    (np.zeros((2, 3, 4)), r"has shape \[2, 3, 4\]"),
    (np.zeros((100, 100)), r"has shape \[100, 100\]"), (["a"], "has samples of type"), ([True], "has samples of type bool"),
    ([1j], "has samples of type complex128")]


@pytest.mark.parametrize(("array", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_is_no_waveform_is_refused(array: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        as_waveform(array, "x")


def wav(waveform: NDArray[np.float32]) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform, RATE, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def loudness(waveform: NDArray[np.float32], hertz: float) -> float:
    """Give the amplitude at a frequency, in the middle of a recording."""
    middle = waveform[RATE // 2:RATE * 3 // 2]
    return float(2 * abs(np.mean(middle * np.exp(-2j * np.pi * hertz * np.arange(len(middle)) / RATE))))
