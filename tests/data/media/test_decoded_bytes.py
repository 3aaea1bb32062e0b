"""Media from a network: the same arrays as from files, within limits, and never a path."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image
from typing_extensions import Buffer

from omnikit.contracts.specs import ImageSpec
from omnikit.data.media.audio import decode_audio, load_audio
from omnikit.data.media.audio_decoders import decode, measure
from omnikit.data.media.image import decode_image, load_image
from omnikit.data.media.video import decode_frames, load_frames, save_video
from omnikit.errors import DataError

FILES = Path(__file__).parent / "files" / "audio"
NOISE = np.random.default_rng(0).integers(0, 255, (6, 32, 48, 3), dtype=np.uint8)


def test_audio_is_that_of_the_file(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", np.linspace(-0.5, 0.5, 4800), 24000)
    found = decode_audio((tmp_path / "a.flac").read_bytes(), 16000, name="audio", seconds=1)
    assert np.array_equal(found, load_audio(tmp_path / "a.flac", 16000))


@pytest.mark.parametrize(("seconds", "channels", "message"), [(3, 1, "has 3.0 s of audio, but at most 2 s"),
                                                              (1, 32, "32 channels at 48000 Hz")])
def test_audio_beyond_the_limits_is_refused_by_its_header(seconds: int, channels: int, message: str) -> None:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros((48000 * seconds, channels)), 48000, format="WAV")
    with pytest.raises(DataError, match=message):
        decode_audio(buffer.getvalue(), 16000, name="audio", seconds=2)


def test_audio_that_is_cut_short_is_refused() -> None:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(1600), 16000, format="WAV")
    with pytest.raises(DataError, match="audio is cut short"):
        decode_audio(buffer.getvalue()[:-100], 16000, name="audio", seconds=2)


def test_image_is_that_of_the_file(tmp_path: Path) -> None:
    Image.fromarray(NOISE[0]).save(tmp_path / "a.png")
    found = decode_image((tmp_path / "a.png").read_bytes(), name="image", most=10_000)
    assert np.array_equal(found, load_image(tmp_path / "a.png"))


def test_a_large_image_is_refused_by_its_header(tmp_path: Path) -> None:
    Image.new("RGB", (2000, 2000)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="image has 2000 x 2000 pixels, but at most 1,000,000"):
        decode_image((tmp_path / "a.png").read_bytes(), name="image", most=1_000_000)


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "GIF"])
def test_other_images_than_the_web_s_are_refused(kind: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(NOISE[0]).save(buffer, format=kind)
    with pytest.raises(DataError, match="must be one that Pillow reads"):
        decode_image(buffer.getvalue(), name="image", most=10_000)


def test_video_is_that_of_the_file(tmp_path: Path) -> None:
    save_video(tmp_path / "a.mp4", NOISE, 2)
    spec = ImageSpec(size=16)
    found = decode_frames((tmp_path / "a.mp4").read_bytes(), spec, name="video", seconds=10, most=10_000)
    assert np.array_equal(found, load_frames(tmp_path / "a.mp4", spec))


@pytest.mark.parametrize(("seconds", "most", "message"), [(1, 10_000, "has 3.0 s of video"), (9, 100, "48 x 32 pixels")])
def test_video_beyond_the_limits_is_refused(tmp_path: Path, seconds: float, most: int, message: str) -> None:
    save_video(tmp_path / "a.mp4", NOISE, 2)
    with pytest.raises(DataError, match=message):
        decode_frames((tmp_path / "a.mp4").read_bytes(), ImageSpec(size=16), name="video", seconds=seconds, most=most)


def test_a_playlist_that_names_files_is_refused() -> None:
    playlist = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
    with pytest.raises(DataError, match="must be an MP4, WebM or Matroska"):
        decode_frames(playlist, ImageSpec(size=16), name="video", seconds=1, most=100)


class CountedFile(io.BytesIO):
    """A file that counts what is read of it."""

    count = 0

    def read(self, size: int | None = -1, /) -> bytes:
        found = super().read(size)
        self.count += len(found)
        return found

    def readinto(self, buffer: Buffer, /) -> int:
        found = super().readinto(buffer)
        self.count += found
        return found


def many_times(name: str) -> bytes:
    """Give a file of the table 3000 times; most are of 0.5 s."""
    return (FILES / name).read_bytes() * 3000


@pytest.mark.parametrize("name", ["garbage_first.mp3", "joined.aiff", "adts.aac", "aac.ts", "joined.wav"])
def test_of_a_long_file_only_the_first_seconds_are_read(name: str) -> None:
    file = CountedFile(many_times(name))
    waveform, rate = decode(file, name, first=2.0)
    assert len(waveform) == 2 * rate
    assert file.count < 4 << 20 < len(file.getvalue())


@pytest.mark.parametrize("name", ["garbage_first.mp3", "adts.aac", "aac.ts"])
def test_the_length_of_the_first_seconds_needs_no_more(name: str) -> None:
    file = CountedFile(many_times(name))
    assert measure(file, name, 2.0) == (32000, 16000)
    assert file.count < 4 << 20 < len(file.getvalue())
