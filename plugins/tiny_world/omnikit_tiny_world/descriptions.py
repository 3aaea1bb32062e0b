"""Images, videos and speech as text that resembles encoder output: to pretrain a language model before it gets encoders.

Frames of speech repeat a word and hold pauses; the embeddings of an image have no word order.
"""

import random

from omnikit_tiny_world.scenes import MANY, Scene
from omnikit_tiny_world.words import COUNTS, translated

PAUSE = ","  # a frame without a word
PAUSES = (0, 3)  # behind a word
REPEATS = (1, 1, 2)  # of a word
LENGTHS = (6, 14)  # words of an image's description
FRAMES = 4  # of a video


def stretch(text: str, language: str, rng: random.Random) -> str:
    """Stretch a sentence: each English word, each Mandarin character occurs once or twice, with a pause behind."""
    space = " " if language == "en" else ""
    units = text.split() if space else list(text)
    return space.join(space.join([unit] * rng.choice(REPEATS)) + _pause(rng) for unit in units)


def describe(scene: Scene, rng: random.Random) -> str:
    """Describe a scene by unordered English words; a video frame by frame."""
    if not scene.direction:
        color = "" if scene.color == MANY else scene.color
        count = translated(COUNTS, scene.count, "en") if scene.count else ""
        words = [word for word in (color, count, scene.shape, scene.position, scene.word) if word]
        return _shuffled(words, rng.randint(*LENGTHS), rng)
    start, end, across = rng.uniform(0, 0.3), rng.uniform(0.7, 1), rng.random()
    if scene.direction in ("left", "up"):
        start, end = end, start
    along = [start + (end - start) * step / (FRAMES - 1) for step in range(FRAMES)]
    level = scene.direction in ("left", "right")
    frames = [(step, across) if level else (across, step) for step in along]
    return " ".join(_shuffled([scene.color, scene.shape, *_thirds(frame)], LENGTHS[0], rng) for frame in frames)


def _thirds(frame: tuple[float, float]) -> list[str]:
    """Name the thirds of a frame in which a point [0, 1] from the left and from the top lies."""
    x, y = frame
    horizontal = [] if 1 / 3 < x < 2 / 3 else ["left" if x < 0.5 else "right"]
    return horizontal + ([] if 1 / 3 < y < 2 / 3 else ["top" if y < 0.5 else "bottom"])


def _shuffled(words: list[str], count: int, rng: random.Random) -> str:
    """Give `count` of the words in any order, each at least once."""
    found = [*words, *rng.choices(words, k=max(0, count - len(words)))]
    rng.shuffle(found)
    return " ".join(word + PAUSE * rng.randint(0, 1) for word in found)


def _pause(rng: random.Random) -> str:
    return PAUSE * rng.randint(*PAUSES)
