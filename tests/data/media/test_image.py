"""Images: all that Pillow reads becomes red, green and blue; tiles are where they belong; what is broken is named."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from omnikit.contracts.specs import ImageSpec
from omnikit.data.media.image import (
    cut_tiles,
    fit_square,
    image_size,
    load_image,
    normalise,
    save_image,
    tile_count,
    tile_grid,
    tile_grids,
)
from omnikit.errors import DataError, RunError

SPEC = ImageSpec(8)


def colours(height: int = 12, width: int = 20) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def steps(kind: type = np.uint8, scale: int = 1) -> NDArray[np.generic]:
    """Give [16, 16] grey values 0 to 255, times `scale`."""
    return (np.arange(256).reshape(16, 16) * scale).astype(kind)


def three(grey: NDArray[np.generic]) -> NDArray[np.uint8]:
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)


def clear(mode: str) -> Image.Image:
    """Give an image that is black to the left and transparent to the right."""
    pixels = np.zeros((4, 8, 4), dtype=np.uint8)
    pixels[:, :4, 3] = 255
    image = Image.fromarray(pixels)
    return image if mode == "RGBA" else image.convert(mode)


WHITE = three(np.repeat([[0] * 4 + [255] * 4], 4, axis=0))


@pytest.mark.parametrize(("image", "expected"), [
    (Image.fromarray(colours()), colours()),
    (Image.fromarray(three(steps())).quantize(256), three(steps())),
    (Image.fromarray(steps()), three(steps())),
    (Image.fromarray(steps(np.uint16, 257)), three(steps())),
    (Image.fromarray((steps() > 99) * np.uint8(255)).convert("1"), three((steps() > 99) * 255)),
    (clear("RGBA"), WHITE),
    (clear("LA"), WHITE),
], ids=["colour", "palette", "grey", "16 bits", "1 bit", "alpha", "grey alpha"])
def test_every_kind_of_image_becomes_colours(image: Image.Image, expected: NDArray[np.uint8], tmp_path: Path) -> None:
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(load_image(tmp_path / "a.png"), expected)
    assert image_size(tmp_path / "a.png") == image.size


def test_a_turned_camera_is_turned_back(tmp_path: Path) -> None:
    pixels = np.zeros((16, 32, 3), dtype=np.uint8)
    pixels[:8, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees with the clock
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif, quality=95)
    found = load_image(tmp_path / "a.jpg")
    assert found.shape == (32, 16, 3) and image_size(tmp_path / "a.jpg") == (16, 32)
    assert found[:6, -6:].min() > 230 and found[10:].max() < 25


def test_saved_image_is_read_back(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png", colours())
    np.testing.assert_array_equal(load_image(tmp_path / "a.png"), colours())
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_tiles_go_row_by_row_and_the_thumbnail_is_last() -> None:
    quarters = np.kron(np.array([[10, 20], [30, 40]], dtype=np.uint8), np.ones((8, 8), dtype=np.uint8))
    found = cut_tiles(three(quarters), ImageSpec(8, least_tiles=4, most_tiles=4))
    assert [int(tile[4, 4, 0]) for tile in found[:4]] == [10, 20, 30, 40]
    assert found.shape == (5, 8, 8, 3) and found[4, 1, 1, 0] == 10 and found[4, 6, 6, 0] == 40


@pytest.mark.parametrize(("width", "height", "expected"), [
    (448, 448, ((1, 1), 1)), (896, 448, ((2, 1), 3)), (1920, 1080, ((4, 2), 9)), (640, 480, ((4, 3), 13)),
    (4032, 3024, ((4, 3), 13)), (1000, 1000, ((3, 3), 10)), (500, 2000, ((1, 4), 5)),
])
def test_grids_are_those_of_the_fact_sheet(width: int, height: int, expected: tuple[tuple[int, int], int]) -> None:
    assert (tile_grid(width, height, ImageSpec(448)), tile_count(width, height, ImageSpec(448))) == expected


@pytest.mark.parametrize(("least", "most"), [(1, 12), (3, 5), (1, 24), (9, 40)])  # 24: what VITA reads documents with
def test_grids_come_in_the_order_of_a_set_that_grew_by_their_longest_side(least: int, most: int) -> None:
    grown: set[tuple[int, int]] = set()
    for longest in range(least, most + 1):
        sides = range(1, longest + 1)
        grown.update((i, j) for i in sides for j in sides if least <= i * j <= most)
    assert list(tile_grids(least, most)) == sorted(grown, key=lambda pair: pair[0] * pair[1])


def test_without_tiles_an_image_is_one() -> None:
    whole = ImageSpec(8, most_tiles=0)
    assert tile_count(900, 100, whole) == 1
    np.testing.assert_array_equal(cut_tiles(colours(8, 24), whole)[0], colours(8, 24)[:, 8:16])  # the middle


def test_padding_keeps_all_of_an_image() -> None:
    found = fit_square(np.zeros((4, 8, 3), dtype=np.uint8), ImageSpec(8, fit="pad", mean=(0.5, 0.5, 0.5)))
    np.testing.assert_array_equal(found[:, 0, 0], [127, 127, 0, 0, 0, 0, 127, 127])


def test_colours_are_a_deviation_from_the_mean() -> None:
    pixels = colours(8, 8)[None]
    expected = (pixels / 255 - SPEC.mean) / SPEC.deviation
    np.testing.assert_allclose(normalise(pixels, SPEC), expected.transpose(0, 3, 1, 2), atol=1e-5)  # float32


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def bomb(path: Path) -> None:
    Image.new("1", (20_000, 5_000)).save(path)


@pytest.mark.parametrize(("damage", "text"), [
    (Path.unlink, "a.png does not exist, but an image should be there"),
    (lambda path: path.write_bytes(b"no image"), "a.png is not a readable image, but must be one that Pillow reads"),
    (lambda path: path.write_bytes(b""), "a.png is not a readable image"),
    (cut, r"a.png is a damaged image \(.*\); write or copy it again"),
    (bomb, r"a.png has 20000 x 5000 pixels, but at most 50,000,000 are allowed \(media.max_pixels\); make it smaller"),
], ids=["missing", "text", "empty", "cut", "bomb"])
def test_broken_image_is_one_sentence(damage: Callable[[Path], None], text: str, tmp_path: Path) -> None:
    save_image(tmp_path / "a.png", colours(64, 64))
    damage(tmp_path / "a.png")
    with pytest.raises(DataError, match=text):
        load_image(tmp_path / "a.png")


@pytest.mark.parametrize(("name", "text"), [
    ("no/a.png", "a.png cannot be written: No such file or directory"),
    ("a.wav", r"a.wav cannot be written as an image; let its name end in .png or .jpg"),
])
def test_what_cannot_be_written_is_one_sentence(name: str, text: str, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=text):
        save_image(tmp_path / name, colours())


@pytest.mark.parametrize(("fields", "text"), [
    ({"fit": "squeeze"}, "fit is 'squeeze', but must be one of crop, pad, stretch, corner"),
    ({"resample": "cubic"}, "resample is 'cubic', but must be one of nearest, lanczos, bilinear, bicubic, box, hamming"),
    ({"edge": 4}, "edge is 4 and fit is crop, but edge is the shortest edge of an image whose centre is cut out"),
    ({"edge": 9, "fit": "pad"}, "edge is 9 and fit is pad, but edge is"),
    ({"least_tiles": 5, "most_tiles": 4}, "images of 5 to 4 tiles"),
    ({"least_frames": 9, "most_frames": 8}, "videos of 9 to 8 frames"),
    ({"frame_rate": 0.0}, "videos of 4 to 16 frames at 0.0 a second"),
    ({"pooled": (4, 144, 50)}, r"pooled is \[4, 144, 50\], but must be a number of frames and two squares"),
])
def test_impossible_specs_are_refused(fields: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        ImageSpec(448, **fields)


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch", "corner"])
@pytest.mark.parametrize(("height", "width"), [(1, 5000), (3000, 1)])
def test_a_long_image_is_never_enlarged_beyond_what_stays(fit: str, height: int, width: int,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    resize = Image.Image.resize

    def recorded(image: Image.Image, size: tuple[int, int], *rest: object, **named: object) -> Image.Image:
        sizes.append(size[0] * size[1])
        return resize(image, size, *rest, **named)  # type: ignore[arg-type]  # as it came

    monkeypatch.setattr(Image.Image, "resize", recorded)
    assert fit_square(colours(height, width), ImageSpec(448, fit=fit, most_tiles=0)).shape == (448, 448, 3)
    assert max(sizes) <= 8 * 448 * 448  # pixels; the whole image at the height of the square would have 5000 times as many
