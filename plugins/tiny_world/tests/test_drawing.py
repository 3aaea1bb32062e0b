"""What is drawn against the pixels: colors, connected pieces, where they are, where they go."""

import random
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from omnikit_tiny_world import scenes
from omnikit_tiny_world.drawing import image, video
from omnikit_tiny_world.scenes import Scene
from omnikit_tiny_world.words import COLORS, COUNTS, DIRECTIONS, POSITIONS, PRINTED, SHAPES

Pixels = NDArray[np.uint8]
HUES = {"red": 0, "orange": 30, "yellow": 55, "green": 134, "blue": 225, "purple": 286}  # degrees


def inked(pixels: Pixels) -> NDArray[np.bool_]:
    """Mark what is colorful: backgrounds are gray."""
    return pixels.max(-1).astype(int) - pixels.min(-1) > 70


def hue(pixels: Pixels) -> float:
    """Give the hue of the mean color of what is drawn, in degrees."""
    red, green, blue = (float(value) / 255 for value in pixels[inked(pixels)].mean(0))
    high, low = max(red, green, blue), min(red, green, blue)
    if high == red:
        return (60 * (green - blue) / (high - low)) % 360
    return 60 * ((blue - red) / (high - low) + 2) if high == green else 60 * ((red - green) / (high - low) + 4)


def pieces(mask: NDArray[np.bool_]) -> int:
    """Count connected pieces of at least eight pixels."""
    left, found = {(int(y), int(x)) for y, x in np.argwhere(mask)}, 0
    while left:
        edge, size = [left.pop()], 1
        while edge:
            y, x = edge.pop()
            near = [at for at in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)) if at in left]
            left.difference_update(near)
            size += len(near)
            edge += near
        found += size >= 8
    return found


def placed() -> Iterator[tuple[Scene, random.Random]]:
    """Give every color, shape, count and position, not all together."""
    for index, (shape, count, position) in enumerate((s, c, p) for s in SHAPES for c in COUNTS for p in POSITIONS):
        yield Scene(list(COLORS)[index % 6], shape, count, position), random.Random(index)


def test_as_many_pieces_as_asked_for_in_the_color_and_at_the_position_of_the_scene() -> None:
    for scene, chance in placed():
        pixels = image(scene, chance)
        assert pixels.shape == (64, 64, 3) and pixels.dtype == np.uint8
        assert pieces(inked(pixels)) == int(scene.count), scene
        assert abs((hue(pixels) - HUES[scene.color] + 180) % 360 - 180) < 13, scene
        y, x = (np.argwhere(inked(pixels)).mean(0) - 31.5) / 32
        assert where(x, y) == scene.position, (scene, x, y)


def where(x: float, y: float) -> str:
    """Name the place of a centroid; the image reaches from -1 to 1."""
    if max(abs(x), abs(y)) < 0.25:
        return "middle"
    if abs(x) > abs(y):
        return "left" if x < 0 else "right"
    return "top" if y < 0 else "bottom"


@pytest.mark.parametrize("size", [(128, 64), (64, 128)])
def test_wide_images_show_the_same(size: tuple[int, int]) -> None:
    for scene, chance in list(placed())[::5]:
        pixels = image(scene, chance, size)
        assert pixels.shape == (size[1], size[0], 3)
        assert pieces(inked(pixels)) == int(scene.count), scene


def test_the_shapes_differ_in_how_they_fill_their_box() -> None:
    shares = {}
    for shape in SHAPES:
        mask = inked(image(Scene("red", shape, "1", "middle"), random.Random(1)))
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        box = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        shares[shape] = box.mean()
        middle = box[box.shape[0] // 2, box.shape[1] // 2]
        assert middle == (shape != "ring")
    assert shares["square"] > 0.95 > shares["circle"] > 0.7 > shares["cross"] > 0.5 > shares["star"] > 0.25
    assert 0.4 < shares["triangle"] < 0.6


@pytest.mark.parametrize("word", PRINTED)
def test_a_printed_word_is_in_its_color_and_wholly_inside(word: str) -> None:
    for color in COLORS:
        pixels = image(Scene(color, word=word), random.Random(f"{word}{color}"))
        mask = inked(pixels)
        assert 120 < mask.sum() < 1200
        assert not mask[:, 0].any() and not mask[:, -1].any() and not mask[0].any() and not mask[-1].any()
        assert abs((hue(pixels) - HUES[color] + 180) % 360 - 180) < 16, color


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_video_moves_in_its_direction_and_no_single_frame_shows_it(direction: str) -> None:
    middles = []
    for seed in range(12):
        frames, rate = video(Scene("blue", "star", direction=direction), random.Random(seed))
        assert 6 <= len(frames) <= 10 and frames.shape[1:] == (64, 64, 3) and frames.dtype == np.uint8
        assert 1 < len(frames) / rate < 4
        y, x = np.array([np.argwhere(inked(frame)).mean(0) for frame in frames]).T
        along, cross = (x, y) if direction in ("left", "right") else (y, x)
        steps = np.diff(along) * (1 if direction in ("right", "down") else -1)
        assert (steps > 1.5).all() and np.abs(np.diff(cross)).max() < 1
        middles.append((along[0] + along[-1]) / 2)
    assert min(middles) < 31 and max(middles) > 33


def test_the_same_seed_draws_the_same_bytes() -> None:
    scene = scenes.divide("video", 0)[0][0]
    assert video(scene, random.Random(3))[0].tobytes() == video(scene, random.Random(3))[0].tobytes()
    assert video(scene, random.Random(3))[0].tobytes() != video(scene, random.Random(4))[0].tobytes()
    shown = Scene("green", "ring", "3", "left")
    assert image(shown, random.Random(3)).tobytes() == image(shown, random.Random(3)).tobytes()
