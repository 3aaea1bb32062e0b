"""Small files of every kind: each has the length and content that its command gives it, or is refused in one sentence."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from omnikit.contracts.specs import ImageSpec
from omnikit.data.media.audio import audio_length, load_audio
from omnikit.data.media.image import image_size, load_image
from omnikit.data.media.video import load_frames, open_video
from omnikit.errors import DataError

FILES = Path(__file__).parent / "files"
TABLE = yaml.safe_load((FILES / "files.yaml").read_text())["files"]
SPEC = ImageSpec(32, most_tiles=0)
LOADERS = {"audio": lambda path: load_audio(path, 16000), "image": load_image, "video": lambda path: load_frames(path, SPEC)}


def accepted(kind: str) -> list[dict[str, object]]:
    return [entry for entry in TABLE if entry["name"].startswith(kind) and "refused" not in entry]


def names(entry: dict[str, object]) -> str:
    return str(entry["name"])


def test_the_table_has_every_file_and_enough() -> None:
    found = {str(path.relative_to(FILES)) for path in FILES.glob("*/*")}
    assert found == {entry["name"] for entry in TABLE} and len(found) >= 120
    assert sum(path.stat().st_size for path in FILES.rglob("*")) < 3 << 20


@pytest.mark.parametrize("entry", accepted("audio"), ids=names)
def test_audio_has_its_length(entry: dict[str, object]) -> None:
    path = FILES / str(entry["name"])
    assert len(load_audio(path, 16000)) == audio_length(path, 16000) == entry["samples"]


@pytest.mark.parametrize("entry", [entry for entry in accepted("audio") if "espeak" not in entry["name"]], ids=names)
def test_audio_is_the_tone_of_its_source(entry: dict[str, object]) -> None:
    waveform = load_audio(FILES / str(entry["name"]), 16000)
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    assert abs(spectrum.argmax() * 16000 / len(waveform) - 440) < 8


@pytest.mark.parametrize("entry", accepted("image"), ids=names)
def test_an_image_has_the_size_of_its_header(entry: dict[str, object]) -> None:
    path = FILES / str(entry["name"])
    assert list(load_image(path).shape[1::-1]) == list(image_size(path)) == entry["size"]


@pytest.mark.parametrize("name", ["rgb.png", "rgb.bmp", "rgb.tiff", "rgb.ppm", "rgb.qoi", "rgb.tga", "lossless.webp",
                                  "pages.tiff", "moving.png", "moving.webp", "wrong_name.gif", "tiff_lzw.tiff",
                                  "packbits.tiff"])
def test_lossless_images_are_the_formula(name: str) -> None:
    y, x = np.mgrid[0:16, 0:24]
    expected = np.stack([x * 10, y * 15, (x + y) * 6], axis=-1).astype(np.uint8)
    np.testing.assert_array_equal(load_image(FILES / "image" / name), expected)


@pytest.mark.parametrize("name", ["grey.png", "grey16.png", "grey16.tiff", "float.tiff", "grey.pgm"])
def test_grey_is_scaled_by_its_type(name: str) -> None:
    expected = np.repeat((np.mgrid[0:16, 0:24][1] * 10).astype(np.uint8)[..., None], 3, axis=2)
    np.testing.assert_array_equal(load_image(FILES / "image" / name), expected)


@pytest.mark.parametrize("entry", accepted("video"), ids=names)
def test_a_video_has_its_frames(entry: dict[str, object]) -> None:
    path = FILES / str(entry["name"])
    found = load_frames(path, SPEC)
    assert open_video(path).frames == entry["frames"]
    assert [found.shape[2], found.shape[1]] == entry["size"]


@pytest.mark.parametrize("entry", [entry for entry in TABLE if "refused" in entry], ids=names)
def test_others_are_refused_in_one_sentence(entry: dict[str, object]) -> None:
    path = FILES / str(entry["name"])
    with pytest.raises(DataError) as caught:
        LOADERS[str(entry["name"]).split("/")[0]](path)
    assert len(caught.value.sentences) == 1 and str(entry["refused"]) in str(caught.value)
