"""Draws scenes: images [H, W, 3] and videos [F, H, W, 3], uint8. Pillow only; uses no questions."""

import math
import random
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from omnikit_tiny_world.scenes import MANY, Scene

Pixels = NDArray[np.uint8]
Color = tuple[int, int, int]
SIDE = 64  # pixels
SUPERSAMPLING = 3  # drawn so many times larger and averaged, against jagged edges
GAP = 3  # pixels between shapes, at least
LARGEST, SMALLEST = 24, 12  # pixels across
INKS: dict[str, Color] = {
    "red": (214, 38, 40), "orange": (248, 142, 24), "yellow": (238, 222, 48), "green": (38, 160, 66),
    "blue": (40, 84, 214), "purple": (152, 56, 182),
}  # fmt: skip
JITTER = 12  # of an ink, up and down in each channel
GRAYS = ((8, 60), (205, 252))  # backgrounds are dark or light
FONT_SIZES = (27, 33)
FRAMES, FRAME_RATES = (6, 10), (3.0, 4.0, 5.0)  # no video takes four seconds
PATH = (0.42, 0.56)  # how far a video's shape goes, in image sides

Point = tuple[float, float]


def image(scene: Scene, rng: random.Random, size: tuple[int, int] = (SIDE, SIDE)) -> Pixels:
    """Draw a scene.

    Args:
        scene: shapes or a printed word.
        rng: draws positions, sizes, background and noise.
        size: width and height in pixels.
    """
    if scene.word:
        names = rng.choices(tuple(INKS), k=len(scene.word)) if scene.color == MANY else [scene.color] * len(scene.word)
        background = _background(rng, GRAYS[:1] if "yellow" in names else GRAYS)  # thin yellow letters cannot be read on white
        inks = [_ink(name, rng) for name in names] if scene.color == MANY else [_ink(scene.color, rng)] * len(names)
        drawn = _draw_word(scene.word, inks, background, size, rng)
    else:
        ink, background = _ink(scene.color, rng), _background(rng)
        centres, across = _centres(int(scene.count), scene.position, size, rng)
        drawn = _draw_shapes(scene.shape, (centres, across), ink, background, size)
    return _noisy(np.asarray(drawn), rng, rng.uniform(0, 6))


def video(scene: Scene, rng: random.Random) -> tuple[Pixels, float]:
    """Draw a video: frames and frames per second. The direction cannot be seen in one frame."""
    ink, background = _ink(scene.color, rng), _background(rng)
    count, rate = rng.randint(*FRAMES), rng.choice(FRAME_RATES)
    across, far = rng.uniform(14, 20), rng.uniform(*PATH) * SIDE
    edge = across / 2 + 2
    along, cross = rng.uniform(edge, SIDE - edge - far), rng.uniform(edge, SIDE - edge)
    noise = rng.uniform(0, 5)
    frames = []
    for step in range(count):
        moved = along + far * step / (count - 1)
        if scene.direction in ("left", "up"):
            moved = SIDE - moved
        centre = (moved, cross) if scene.direction in ("left", "right") else (cross, moved)
        drawn = _draw_shapes(scene.shape, ([centre], across), ink, background, (SIDE, SIDE))
        frames.append(_noisy(np.asarray(drawn), rng, noise))
    return np.stack(frames), rate


def _ink(name: str, rng: random.Random) -> Color:
    red, green, blue = (min(255, max(0, value + rng.randint(-JITTER, JITTER))) for value in INKS[name])
    return red, green, blue


def _background(rng: random.Random, grays: tuple[tuple[int, int], ...] = GRAYS) -> Color:
    gray = rng.randint(*rng.choice(grays))
    red, green, blue = (min(255, max(0, gray + rng.randint(-6, 6))) for _ in range(3))
    return red, green, blue


def _noisy(pixels: Pixels, rng: random.Random, strength: float) -> Pixels:
    noise = np.random.default_rng(rng.getrandbits(64)).standard_normal(pixels.shape, np.float32) * np.float32(strength)
    return np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8)


def _centres(count: int, position: str, size: tuple[int, int], rng: random.Random) -> tuple[list[Point], float]:
    """Give the centres of `count` shapes that do not touch, and how large they are, in pixels."""
    left, top, width, height = _region(count, position, size)
    best = _grid(count, width, height)
    cell = min(width / best[0], height / best[1])
    across = min(LARGEST, cell - GAP) * rng.uniform(0.8, 1)
    across = max(SMALLEST, across)
    cells = [(column, row) for row in range(best[1]) for column in range(best[0])]
    centres = []
    for column, row in sorted(rng.sample(cells, count)):
        roam_x = max(0.0, min(width / best[0] - across - GAP, across)) / 2
        roam_y = max(0.0, min(height / best[1] - across - GAP, across)) / 2
        centres.append((left + (column + 0.5) * width / best[0] + rng.uniform(-roam_x, roam_x),
                        top + (row + 0.5) * height / best[1] + rng.uniform(-roam_y, roam_y)))
    return centres, across


def _region(count: int, position: str, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Give left, top, width, height of where the group may be: half the image, or its middle."""
    width, height = size
    extent = 0.94 if count > 2 else 0.7
    if position in ("left", "right"):
        region_width, region_height = width * 0.46, height * extent
        left = width * 0.02 if position == "left" else width * 0.52
        return left, (height - region_height) / 2, region_width, region_height
    if position in ("top", "bottom"):
        region_width, region_height = width * extent, height * 0.46
        top = height * 0.02 if position == "top" else height * 0.52
        return (width - region_width) / 2, top, region_width, region_height
    return width * 0.2, height * 0.2, width * 0.6, height * 0.6


def _grid(count: int, width: float, height: float) -> tuple[int, int]:
    """Give columns and rows with the largest cells."""
    grids = {1: [(1, 1)], 2: [(1, 2), (2, 1)], 3: [(1, 3), (3, 1), (2, 2)], 4: [(2, 2), (1, 4), (4, 1)]}[count]
    return max(grids, key=lambda grid: min(width / grid[0], height / grid[1]))


def _draw_shapes(shape: str, positions: tuple[list[Point], float], ink: Color, background: Color,
                 size: tuple[int, int]) -> Image.Image:
    """Draw one shape at several positions."""
    centres, across = positions
    image = Image.new("RGB", (size[0] * SUPERSAMPLING, size[1] * SUPERSAMPLING), background)
    draw = ImageDraw.Draw(image)
    for x, y in centres:
        _draw_shape(draw, shape, (x * SUPERSAMPLING, y * SUPERSAMPLING), across * SUPERSAMPLING / 2, (ink, background))
    return image.reduce(SUPERSAMPLING)


def _draw_shape(draw: ImageDraw.ImageDraw, shape: str, centre: Point, radius: float, colors: tuple[Color, Color]) -> None:
    (x, y), (ink, background) = centre, colors
    box = (x - radius, y - radius, x + radius, y + radius)
    if shape in ("circle", "ring"):
        draw.ellipse(box, fill=ink)
        if shape == "ring":
            draw.ellipse((x - radius / 2, y - radius / 2, x + radius / 2, y + radius / 2), fill=background)
    elif shape == "square":
        draw.rectangle((x - radius * 0.88, y - radius * 0.88, x + radius * 0.88, y + radius * 0.88), fill=ink)
    elif shape == "cross":
        arm = radius * 0.36
        draw.rectangle((x - arm, y - radius, x + arm, y + radius), fill=ink)
        draw.rectangle((x - radius, y - arm, x + radius, y + arm), fill=ink)
    else:
        draw.polygon([(x + radius * a, y + radius * b) for a, b in _outline(shape)], fill=ink)


@cache
def _outline(shape: str) -> tuple[Point, ...]:
    """Give the corners of a triangle or a star of radius one."""
    if shape == "triangle":
        return (0, -0.95), (0.98, 0.85), (-0.98, 0.85)
    corners = []
    for corner in range(10):
        radius = 1.0 if corner % 2 == 0 else 0.42
        angle = math.pi * corner / 5
        corners.append((radius * math.sin(angle), -radius * math.cos(angle)))
    return tuple(corners)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _draw_word(word: str, inks: list[Color], background: Color, size: tuple[int, int], rng: random.Random) -> Image.Image:
    """Print a word somewhere on the background, wholly inside, each letter in its ink."""
    image = Image.new("RGB", size, background)
    draw = ImageDraw.Draw(image)
    points = rng.randint(*FONT_SIZES)
    left, top, right, bottom = draw.textbbox((0, 0), word, font=_font(points))
    while right - left > size[0] - 2:
        points -= 1
        left, top, right, bottom = draw.textbbox((0, 0), word, font=_font(points))
    x = rng.uniform(1, size[0] - 1 - (right - left)) - left
    y = rng.uniform(1, size[1] - 1 - (bottom - top)) - top
    for letter, ink in enumerate(inks):
        draw.text((x + draw.textlength(word[:letter], font=_font(points)), y), word[letter], fill=ink, font=_font(points))
    return image
