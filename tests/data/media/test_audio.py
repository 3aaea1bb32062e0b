"""Audio files in and out, and one sentence for each way in which a file can be broken."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from omnikit.data.media.audio import load_audio, save_audio
from omnikit.errors import DataError, RunError


def sine(seconds: float, sample_rate: int, hertz: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * sample_rate)) / sample_rate)).astype(np.float32)


def test_saved_wave_comes_back_within_one_16_bit_step(tmp_path: Path) -> None:
    wave = sine(0.1, 16000)
    save_audio(tmp_path / "a.wav", wave, 16000)
    np.testing.assert_allclose(load_audio(tmp_path / "a.wav", 16000), wave, atol=1 / 32768)


def test_saved_file_is_mono_16_bit_and_leaves_no_part_behind(tmp_path: Path) -> None:
    save_audio(tmp_path / "a.wav", sine(0.1, 24000), 24000)
    info = soundfile.info(tmp_path / "a.wav")
    assert (info.channels, info.subtype, info.samplerate, info.frames) == (1, "PCM_16", 24000, 2400)
    assert [file.name for file in tmp_path.iterdir()] == ["a.wav"]


def test_loud_wave_is_clipped_not_wrapped(tmp_path: Path) -> None:
    save_audio(tmp_path / "a.wav", np.array([2.0, -2.0], dtype=np.float32), 16000)
    np.testing.assert_allclose(load_audio(tmp_path / "a.wav", 16000), [1.0, -1.0], atol=1 / 32768)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_other_rates_become_the_same_tone_at_16_khz(tmp_path: Path, rate: int) -> None:
    soundfile.write(tmp_path / "a.wav", sine(1.0, rate), rate, subtype="FLOAT")
    wave = load_audio(tmp_path / "a.wav", 16000)
    assert wave.shape == (16000,)
    np.testing.assert_allclose(wave[500:-500], sine(1.0, 16000)[500:-500], atol=2e-3)  # the filter rings at the ends


def test_stereo_becomes_the_mean_of_its_channels(tmp_path: Path) -> None:
    left, right = sine(0.1, 16000), sine(0.1, 16000, 1000.0)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), 16000, subtype="FLOAT")
    np.testing.assert_allclose(load_audio(tmp_path / "a.wav", 16000), (left + right) / 2, atol=1e-6)


def test_flac_is_read(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", sine(0.1, 16000), 16000)
    np.testing.assert_allclose(load_audio(tmp_path / "a.flac", 16000), sine(0.1, 16000), atol=1 / 32768)


def test_chunk_of_uneven_size_before_the_data_is_skipped(tmp_path: Path) -> None:
    save_audio(tmp_path / "a.wav", sine(0.1, 16000), 16000)
    whole = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "b.wav").write_bytes(whole[:12] + b"junk\x03\x00\x00\x00abc\x00" + whole[12:])
    assert len(load_audio(tmp_path / "b.wav", 16000)) == 1600


def test_streamed_wav_of_unknown_size_is_read(tmp_path: Path) -> None:
    save_audio(tmp_path / "a.wav", sine(0.1, 16000), 16000)
    whole = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "b.wav").write_bytes(whole[:40] + b"\xff\xff\xff\xff" + whole[44:])
    assert len(load_audio(tmp_path / "b.wav", 16000)) == 1600


def write_truncated(path: Path) -> None:
    soundfile.write(path, sine(0.1, 16000), 16000, subtype="PCM_16")
    path.write_bytes(path.read_bytes()[:-1000])


BROKEN = {
    "missing": (lambda path: None, "does not exist"),
    "text": (lambda path: path.write_text("no sound here"), "is not a readable audio file"),
    "zero bytes": (lambda path: path.write_bytes(b""), "is not a readable audio file"),
    "header only": (lambda path: path.write_bytes(b"RIFF\x24\x00\x00\x00WAVE"), "is not a readable audio file"),
    "truncated": (write_truncated, "is cut short .1000 bytes are missing"),
    "no samples": (lambda path: soundfile.write(path, np.zeros(0, np.float32), 16000), "holds no samples"),
    "not finite": (
        lambda path: soundfile.write(path, np.array([0.0, np.nan], np.float32), 16000, subtype="FLOAT"),
        "not finite numbers",
    ),
}


@pytest.mark.parametrize("case", list(BROKEN))
def test_broken_file_is_one_sentence_that_names_it(tmp_path: Path, case: str) -> None:
    write, message = BROKEN[case]
    write(tmp_path / "a.wav")
    with pytest.raises(DataError, match=message) as caught:
        load_audio(tmp_path / "a.wav", 16000)
    assert str(tmp_path / "a.wav") in str(caught.value)
    assert len(caught.value.sentences) == 1


def test_truncated_flac_is_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 16000)
    soundfile.write(tmp_path / "a.flac", noise, 16000)
    (tmp_path / "a.flac").write_bytes((tmp_path / "a.flac").read_bytes()[:15000])
    with pytest.raises(DataError, match=r"cut short|not a readable"):
        load_audio(tmp_path / "a.flac", 16000)


def test_full_disk_leaves_the_old_file_and_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_audio(tmp_path / "a.wav", sine(0.1, 16000), 16000)
    before = (tmp_path / "a.wav").read_bytes()

    def full(self: Path, data: bytes) -> int:
        self.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RunError, match="cannot be written: No space left on device"):
        save_audio(tmp_path / "a.wav", sine(0.2, 16000), 16000)
    assert (tmp_path / "a.wav").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.wav"]


def test_missing_folder_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"nowhere/a\.wav cannot be written: No such file"):
        save_audio(tmp_path / "nowhere" / "a.wav", sine(0.1, 16000), 16000)


@pytest.mark.parametrize("wave", [np.zeros((2, 5), np.float32), np.array([np.inf], np.float32)], ids=["2-d", "inf"])
def test_wave_that_is_no_wave_is_not_written(tmp_path: Path, wave: np.ndarray) -> None:
    with pytest.raises(DataError, match="one channel of finite numbers"):
        save_audio(tmp_path / "a.wav", wave, 16000)
    assert not list(tmp_path.iterdir())
