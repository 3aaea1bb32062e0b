"""What images and videos show, questions about them, and which combinations are held out. Pure text.

Held out as a whole: color × shape × count of images, word × color of printed words, color × shape × direction of videos.
"""

from dataclasses import dataclass
from functools import cache
from itertools import product

from omnikit_tiny_world.words import (
    COLORS,
    COUNTS,
    DIRECTIONS,
    POSITION_PHRASES,
    POSITIONS,
    PRINTED,
    SHAPES,
    hold_out,
    plural,
    translated,
)

MANY = "many"  # the color of a printed word whose letters differ in color; in training only
HELD = {"shapes": 18, "word": 12, "video": 18}  # combinations
SEEDS = {"video": "film"}  # earlier names, which still seed, so that the same combinations are held out
QUESTIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "color": {"en": ("what color is it", "which color do you see"), "zh": ("这是什么颜色", "你看到什么颜色")},
    "shape": {"en": ("what shape is it", "which shape do you see"), "zh": ("这是什么形状", "你看到什么形状")},
    "count": {"en": ("how many are there", "how many do you see"), "zh": ("一共有几个", "你看到几个")},
    "where": {"en": ("where is it", "where do you see it"), "zh": ("它在哪里", "你在哪里看到它")},
    "word": {"en": ("what word is written", "what does it say"), "zh": ("上面写着什么", "写的是什么词")},
    "direction": {"en": ("which way does it move", "where does it go"), "zh": ("它往哪边走", "它往哪里移动")},
    "caption": {"en": ("describe the picture",), "zh": ("描述图片",)},
    "video caption": {"en": ("describe the film",), "zh": ("描述影片",)},
}


@dataclass(frozen=True)
class Scene:
    """What an image or video shows; an empty string is what the scene does not have.

    Args:
        color: a key of `COLORS`; `MANY` where each letter of a word has its own.
        shape: a key of `SHAPES`, empty for a printed word.
        count: "1" to "4".
        position: a key of `POSITIONS`, where the shapes of an image are.
        word: what is printed.
        direction: a key of `DIRECTIONS`, where the shape of a video goes.
    """

    color: str
    shape: str = ""
    count: str = ""
    position: str = ""
    word: str = ""
    direction: str = ""

    def facts(self) -> dict[str, str]:
        """Give what it has, by name."""
        return {name: value for name, value in vars(self).items() if value}


@cache
def divide(sort: str, seed: int) -> tuple[tuple[Scene, ...], tuple[Scene, ...]]:
    """Give the scenes of a sort ("shapes", "word", "video") that are trained on and the held-out ones, without positions."""
    scenes = {
        "shapes": [(Scene(*item), item[0] + item[1]) for item in product(COLORS, SHAPES, COUNTS)],
        "word": [(Scene(color, word=word), word) for color, word in product(COLORS, PRINTED)],
        "video": [(Scene(c, s, direction=d), c + s) for c, s, d in product(COLORS, SHAPES, DIRECTIONS)],
    }[sort]
    held = hold_out([(str(scene), group) for scene, group in scenes], HELD[sort], f"{SEEDS.get(sort, sort)} {seed}")
    training = tuple(scene for scene, _ in scenes if str(scene) not in held)
    return training, tuple(scene for scene, _ in scenes if str(scene) in held)


def answer(scene: Scene, kind: str, language: str) -> str:
    """Answer a question of `QUESTIONS` about a scene."""
    match kind:
        case "color":
            return translated(COLORS, scene.color, language)
        case "shape":
            return translated(SHAPES, scene.shape, language)
        case "count":
            return translated(COUNTS, scene.count, language)
        case "where":
            return translated(POSITIONS, scene.position, language)
        case "word":
            return scene.word
        case "direction":
            return translated(DIRECTIONS, scene.direction, language)
    return caption(scene, language)


def caption(scene: Scene, language: str) -> str:
    """Give all that a scene shows in one sentence."""
    if scene.color == MANY:
        return f"the word {scene.word}" if language == "en" else f"词 {scene.word}"
    color = translated(COLORS, scene.color, language)
    if scene.word:
        return f"the word {scene.word} in {color}" if language == "en" else f"{color}的词 {scene.word}"
    shape = translated(SHAPES, scene.shape, language)
    if scene.direction:
        way = translated(DIRECTIONS, scene.direction, language)
        return f"a {color} {shape} moves {way}" if language == "en" else f"{color}{shape}{way}走"
    count = translated(COUNTS, scene.count, language)
    if language == "en":
        return f"{count} {color} {shape if scene.count == '1' else plural(shape)} {POSITION_PHRASES[scene.position]}"
    return f"{translated(POSITIONS, scene.position, language)}有{count}{color}{shape}"
