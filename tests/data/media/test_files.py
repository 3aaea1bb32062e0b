"""Small files of every kind: each has the length and content that other programs find in it, or is refused in one sentence.

files.yaml has the command that made each file; measured.yaml what ffmpeg and sox make of it (files/measure.py, which uses
nothing of omnikit). Images are held against the formula that their pixels were written by.
"""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import yaml

from omnikit.contracts.specs import ImageSpec
from omnikit.data.media.audio import audio_length, check_audio, load_audio
from omnikit.data.media.image import Pixels, image_size, load_image
from omnikit.data.media.video import load_frames, open_video, read_frames
from omnikit.errors import DataError

FILES = Path(__file__).parent / "files"
TABLE = yaml.safe_load((FILES / "files.yaml").read_text())["files"]
MEASURED = yaml.safe_load((FILES / "measured.yaml").read_text())
AUDIO, VIDEO = ([name for name in MEASURED if name.startswith(kind)] for kind in ("audio", "video"))
SPEC = ImageSpec(32, most_tiles=0)
LOADERS = {"audio": lambda path: load_audio(path, 16000), "image": load_image, "video": lambda path: load_frames(path, SPEC)}
Y, X = np.mgrid[0:16, 0:24]
RGB = np.stack([X * 10, Y * 15, (X + Y) * 6], axis=-1).astype(np.uint8)  # files/make_images.py
GREY = np.repeat(RGB[..., :1], 3, axis=2)
LOSSLESS = {"rgb.png", "rgb.bmp", "rgb.tiff", "rgb.ppm", "rgb.qoi", "rgb.tga", "lossless.webp", "lossless.jp2", "pages.tiff",
            "moving.png", "moving.webp", "wrong_name.gif", "tiff_lzw.tiff", "tiff_deflate.tiff", "packbits.tiff", "cmyk.tiff",
            "rgb16.png", "interlaced.png"}
LOSSY = {"rgb.jpg": 12, "progressive.jpg": 12, "cmyk.jpg": 12, "rgb.avif": 16, "moving.gif": 40, "palette.gif": 40,
         "palette.png": 40, "two_images.mpo": 12}  # largest difference: of JPEG and AV1 at quality 95; 64 colours of 384
TURNED = {2: RGB[:, ::-1], 3: RGB[::-1, ::-1], 4: RGB[::-1], 5: RGB.swapaxes(0, 1), 6: RGB[::-1].swapaxes(0, 1),
          7: RGB[::-1, ::-1].swapaxes(0, 1), 8: RGB[:, ::-1].swapaxes(0, 1)}  # by EXIF's orientation
SAME_MP3 = ("zeros_first", "garbage_between", "ape_behind", "ape_first")


@cache
def loaded(name: str, rate: int) -> np.ndarray:
    return load_audio(FILES / name, rate)


def grid(frame: Pixels) -> np.ndarray:
    """Give the mean colours of 3 x 4 parts of a frame, as files/measure.py."""
    parts = [part for band in np.array_split(frame.astype(float), 3, axis=0) for part in np.array_split(band, 4, axis=1)]
    return np.concatenate([part.mean(axis=(0, 1)) for part in parts])


def accepted(kind: str) -> list[str]:
    return [entry["name"] for entry in TABLE if entry["name"].startswith(kind) and "refused" not in entry]


def test_the_table_has_every_file_and_enough() -> None:
    found = {str(path.relative_to(FILES)) for path in FILES.glob("*/*")}
    assert found == {entry["name"] for entry in TABLE} and len(found) >= 250
    assert sum(path.stat().st_size for path in FILES.rglob("*")) < 3 << 20


@pytest.mark.parametrize("name", accepted("audio"))
def test_audio_has_the_length_of_its_header(name: str) -> None:
    assert audio_length(FILES / name, 16000) == len(loaded(name, 16000))


@pytest.mark.parametrize("name", AUDIO)
def test_audio_is_what_other_programs_decode(name: str) -> None:
    measured = MEASURED[name]
    found = loaded(name, measured["rate"])
    assert len(found) == measured["samples"]
    at = np.linspace(0, len(found) - 1, len(measured["values"])).astype(int)
    np.testing.assert_allclose(found[at], measured["values"], rtol=0, atol=measured["tolerance"] + 1e-6)


@pytest.mark.parametrize("name", SAME_MP3)
def test_what_lies_between_the_frames_of_an_mp3_is_left_out(name: str) -> None:
    np.testing.assert_array_equal(loaded(f"audio/{name}.mp3", 16000), loaded("audio/garbage_first.mp3", 16000))


def test_a_frame_of_an_mp3_that_is_cut_is_left_out() -> None:
    np.testing.assert_array_equal(loaded("audio/cut_in_frame.mp3", 16000), loaded("audio/garbage_first.mp3", 16000)[:-576])


def test_a_second_rate_in_an_mp3_is_resampled_to_the_first() -> None:
    found = loaded("audio/two_rates.mp3", 16000)
    spectra = [np.abs(np.fft.rfft(half * np.hanning(len(half)))).argmax() * 16000 / len(half)
               for half in (found[:9216], found[9216:])]
    assert abs(len(found) - 2 * 9216) < 1152 and np.allclose(spectra, 440, atol=4)


@pytest.mark.parametrize("name", [entry["name"] for entry in TABLE if "is cut short" in entry.get("refused", "")
                                  and entry["name"].startswith("audio")])
def test_the_header_shows_what_is_cut_short(name: str) -> None:
    assert audio_length(FILES / name) == 0
    with pytest.raises(DataError, match="is cut short"):
        check_audio(FILES / name, name)


@pytest.mark.parametrize("name", accepted("image"))
def test_an_image_has_the_size_of_its_header(name: str) -> None:
    assert load_image(FILES / name).shape[1::-1] == image_size(FILES / name)


@pytest.mark.parametrize("name", sorted(LOSSLESS))
def test_lossless_images_are_the_formula(name: str) -> None:
    np.testing.assert_array_equal(load_image(FILES / "image" / name), RGB)


@pytest.mark.parametrize(("name", "most"), LOSSY.items())
def test_lossy_images_are_near_the_formula(name: str, most: int) -> None:
    assert np.abs(load_image(FILES / "image" / name).astype(int) - RGB).max() <= most


@pytest.mark.parametrize("name", ["grey.png", "grey16.png", "grey16.tiff", "float.tiff", "grey.pgm", "big_endian16.tiff",
                                  "white_is_zero16.tiff"])
def test_grey_is_scaled_by_its_type(name: str) -> None:
    np.testing.assert_array_equal(load_image(FILES / "image" / name), GREY)


@pytest.mark.parametrize("name", ["alpha.png", "alpha.webp", "alpha.tiff", "alpha16.png"])
def test_what_is_transparent_is_white(name: str) -> None:
    np.testing.assert_array_equal(load_image(FILES / "image" / name), np.where(X[..., None] < 12, RGB, 255))


@pytest.mark.parametrize("name", ["clear_grey.png", "clear_grey16.png"])
def test_a_transparent_shade_of_grey_is_white(name: str) -> None:
    np.testing.assert_array_equal(load_image(FILES / "image" / name), np.where(X[..., None] == 0, 255, GREY))


@pytest.mark.parametrize("name", [name for name in accepted("image") if "held" in name])
def test_a_held_image_is_upright(name: str) -> None:
    expected = TURNED[int(Path(name).stem[-1])]
    found = load_image(FILES / name)
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= (16 if name.endswith(("jpg", "avif")) else 0)


@pytest.mark.parametrize("name", VIDEO)
def test_a_video_has_the_frames_that_ffmpeg_decodes(name: str) -> None:
    measured = MEASURED[name]
    found = list(read_frames(FILES / name, SPEC))
    assert open_video(FILES / name).frames == measured["frames"]
    assert list(found[0].shape[1::-1]) == measured["size"]
    parts = np.stack([grid(frame) for frame in found])
    np.testing.assert_allclose(parts, measured["sampled"], atol=measured["tolerance"])  # of 255: other ways from YUV to RGB


@pytest.mark.parametrize("entry", [entry for entry in TABLE if "refused" in entry], ids=lambda entry: str(entry["name"]))
def test_others_are_refused_in_one_sentence(entry: dict[str, str]) -> None:
    with pytest.raises(DataError) as caught:
        LOADERS[entry["name"].split("/")[0]](FILES / entry["name"])
    assert len(caught.value.sentences) == 1 and entry["refused"] in str(caught.value)
