"""Who says what about which scene: the rows of every view. Seeded text; knows nothing of waves and pixels."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from omnikit_tiny_world import questions, scenes
from omnikit_tiny_world.config import TinyWorld
from omnikit_tiny_world.scenes import QUESTIONS, Scene
from omnikit_tiny_world.words import LANGUAGES, POSITIONS

HEARD = {
    "en": ("en-us", "en", "en-gb-x-rp", "en-us+f2", "en-us+f4", "en-us+m3", "en-us+m7", "en+f5"),
    "zh": ("cmn", "cmn+f1", "cmn+f2", "cmn+f4", "cmn+f5", "cmn+m1", "cmn+m3", "cmn+m7"),
}  # voices in training
UNSEEN = {"en": "en-us+f3", "zh": "cmn+f3"}  # never heard in training
SPEEDS, PITCHES = (150, 210), (35, 65)  # words per minute and espeak-ng's pitch
TAKES = 48  # recordings of one sentence, at most


@dataclass(frozen=True)
class Utterance:
    """Something to say: the words, the voice, words per minute, pitch 0 to 100."""

    text: str
    voice: str
    speed: int
    pitch: int


@dataclass(frozen=True)
class Row:
    """One conversation before anything is drawn or heard.

    Args:
        asked: the question, whether it is written or said.
        scene: what is shown, if anything.
        said: the recording of the question; None where it is written.
        sound: a kind of noise in place of speech.
        state: the answer's state where the row says it.
        prompt: whether a learned prompt comes first.
    """

    id: str
    language: str
    kind: str
    asked: str
    answer: str
    scene: Scene | None = None
    said: Utterance | None = None
    sound: str = ""
    state: str | None = None
    prompt: bool = False
    facts: dict[str, str] = field(default_factory=dict)


def rows(config: TinyWorld, size: int) -> list[Row]:
    """Give `size` rows; kinds and languages take turns. "test_unseen" differs from "test" in the voices alone."""
    write = WRITERS[config.view]
    result = []
    for index in range(size):
        chance = random.Random(f"{config.view} {_part(config)} {config.seed} {index}")
        language = LANGUAGES[index % 2] if config.language == "both" else config.language
        turn = index // 2 if config.language == "both" else index
        result.append(write(config, f"{config.view}-{config.split}-{index:05}", (turn, language), chance))
    return result


def take(text: str, language: str, split: str, chance: random.Random) -> Utterance:
    """Choose one of the recordings of a sentence; views share them."""
    voice = random.Random(f"{text} {chance.randrange(TAKES)} {split == 'train'}")
    heard, speed, pitch = voice.choice(HEARD[language]), voice.randint(*SPEEDS), voice.randint(*PITCHES)
    return Utterance(text, UNSEEN[language] if split == "test_unseen" else heard, speed, pitch)


def _part(config: TinyWorld) -> str:
    return "train" if config.split == "train" else "test"


Turn = tuple[int, str]  # how many rows of this language came before, and the language


def _scene(config: TinyWorld, sort: str, turn: int, chance: random.Random) -> Scene:
    """Give a scene; held-out ones take turns, so that a test meets all."""
    kept, held = scenes.divide(sort, config.seed)
    scene = chance.choice(kept) if config.split == "train" else held[turn % len(held)]
    if sort != "shapes":
        return scene
    return Scene(scene.color, scene.shape, scene.count, chance.choice(tuple(POSITIONS)))


def _shown(config: TinyWorld, name: str, turn: Turn, chance: random.Random) -> Row:
    """A question about a picture: color, shape, count, where, word take turns."""
    place, language = turn
    kind = ("color", "shape", "count", "where", "word")[place % 5]
    printed = kind == "word" or (kind == "color" and chance.random() < 0.25)
    scene = _scene(config, "word" if printed else "shapes", place // 5, chance)
    return _about(config, name, (kind, language), scene, chance)


def _filmed(config: TinyWorld, name: str, turn: Turn, chance: random.Random) -> Row:
    """A question about a film: every second one is which way it goes."""
    place, language = turn
    kind = ("direction", "color", "direction", "shape")[place % 4]
    return _about(config, name, (kind, language), _scene(config, "film", place // 2, chance), chance)


def _captioned(config: TinyWorld, name: str, turn: Turn, chance: random.Random) -> Row:
    """A picture and a sentence about it; every fifth is a printed word."""
    place, language = turn
    scene = _scene(config, "shapes" if place % 5 else "word", place, chance)
    return _about(config, name, ("caption", language), scene, chance)


def _film_captioned(config: TinyWorld, name: str, turn: Turn, chance: random.Random) -> Row:
    place, language = turn
    return _about(config, name, ("film caption", language), _scene(config, "film", place, chance), chance)


def _about(config: TinyWorld, name: str, what: tuple[str, str], scene: Scene, chance: random.Random) -> Row:
    """Ask one kind of question in one language about a scene."""
    kind, language = what
    asked = chance.choice(QUESTIONS[kind][language])
    said = None
    if config.view in ("spoken_pictures", "spoken_films") and chance.random() < config.spoken:
        said = take(asked, language, config.split, chance)
    return Row(name, language, kind, asked, scenes.answer(scene, kind, language), scene, said, facts=scene.facts())


def _asked(config: TinyWorld, name: str, turn: Turn, chance: random.Random) -> Row:
    """A question about numbers and words; the kinds take turns."""
    place, language = turn
    kind = tuple(questions.KINDS)[place % len(questions.KINDS)]
    kept, held = questions.divide(kind, language, config.seed)
    question = chance.choice(kept) if config.split == "train" else _turn(held, place // len(questions.KINDS))
    said = None
    if config.view == "speech" and chance.random() < config.spoken:
        said = take(question.text, language, config.split, chance)
    return Row(name, language, kind, question.text, question.answer, said=said)


def _turn(items: tuple[questions.Question, ...], place: int) -> questions.Question:
    """Give each item once in a scattered order, then again."""
    return items[place * 7 % len(items) if len(items) % 7 else place % len(items)]


WRITERS: dict[str, Callable[[TinyWorld, str, Turn, random.Random], Row]] = {
    "captions": _captioned,
    "film_captions": _film_captioned,
    "pictures": _shown,
    "films": _filmed,
    "text": _asked,
    "spoken_pictures": _shown,
    "spoken_films": _filmed,
    "speech": _asked,
}


def texts(seed: int = 0) -> list[str]:
    """Give every sentence that rows may hold, for training a tokenizer."""
    found = [text for asked in QUESTIONS.values() for wordings in asked.values() for text in wordings]
    for kind in questions.KINDS:
        for language in LANGUAGES:
            for part in questions.divide(kind, language, seed):
                found += [text for item in part for text in (item.text, item.answer)]
    for sort in ("shapes", "word", "film"):
        for part in scenes.divide(sort, seed):
            for scene in part:
                for position in POSITIONS if sort == "shapes" else ("",):
                    placed = Scene(scene.color, scene.shape, scene.count, position, scene.word, scene.direction)
                    found += [scenes.answer(placed, kind, language) for language in LANGUAGES for kind in
                              {"shapes": ("caption", "where", "shape", "color", "count"), "word": ("caption", "word"),
                               "film": ("film caption", "direction")}[sort]]
    return sorted(set(found))
