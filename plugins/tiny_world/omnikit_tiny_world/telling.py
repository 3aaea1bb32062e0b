"""What is seen and heard, in the words of one who must write it: for a language model that shall later see and hear.

What an encoder gives comes in bits: a word lasts several vectors with nothing between, a picture's words have no order.
"""

import random

from omnikit_tiny_world.scenes import MANY, Scene
from omnikit_tiny_world.words import COUNTS, called

PAUSE = ","  # a vector that says nothing
PAUSES = (0, 3)  # behind a word
TIMES = (1, 1, 2)  # how often a word comes
BITS = (6, 14)  # words that tell an image
FRAMES = 4  # of a video


def drawled(text: str, language: str, chance: random.Random) -> str:
    """Draw a sentence out: each English word, each Mandarin character comes once or twice and leaves a pause."""
    space = " " if language == "en" else ""
    units = text.split() if space else list(text)
    return space.join(space.join([unit] * chance.choice(TIMES)) + _pause(chance) for unit in units)


def told(scene: Scene, chance: random.Random) -> str:
    """Tell a scene in English words without order; a video's frames follow each other."""
    if not scene.direction:
        color = "" if scene.color == MANY else scene.color
        count = called(COUNTS, scene.count, "en") if scene.count else ""
        words = [word for word in (color, count, scene.shape, scene.position, scene.word) if word]
        return _bits(words, chance.randint(*BITS), chance)
    start, end, aside = chance.uniform(0, 0.3), chance.uniform(0.7, 1), chance.random()
    if scene.direction in ("left", "up"):
        start, end = end, start
    along = [start + (end - start) * step / (FRAMES - 1) for step in range(FRAMES)]
    level = scene.direction in ("left", "right")
    frames = [(place, aside) if level else (aside, place) for place in along]
    return " ".join(_bits([scene.color, scene.shape, *_where(frame)], BITS[0], chance) for frame in frames)


def _where(frame: tuple[float, float]) -> list[str]:
    """Name the thirds of a frame in which a point [0, 1] from the left and from the top lies."""
    x, y = frame
    across = [] if 1 / 3 < x < 2 / 3 else ["left" if x < 0.5 else "right"]
    return across + ([] if 1 / 3 < y < 2 / 3 else ["top" if y < 0.5 else "bottom"])


def _bits(words: list[str], count: int, chance: random.Random) -> str:
    """Give `count` of the words in any order, each at least once."""
    bits = [*words, *chance.choices(words, k=max(0, count - len(words)))]
    chance.shuffle(bits)
    return " ".join(word + PAUSE * chance.randint(0, 1) for word in bits)


def _pause(chance: random.Random) -> str:
    return PAUSE * chance.randint(*PAUSES)
