"""The rows of every view: question, voice, scene, answer. Seeded text; uses no waveforms and no pixels."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar, get_args

from omnikit_tiny_world import questions, scenes, unaddressed
from omnikit_tiny_world.config import SPOKEN, TinyWorld, View
from omnikit_tiny_world.descriptions import describe, stretch
from omnikit_tiny_world.row import LanguageIndex, Row, in_answer_voice, question_utterance
from omnikit_tiny_world.scenes import MANY, QUESTIONS, Scene
from omnikit_tiny_world.sentences import random_text, sentences
from omnikit_tiny_world.sounds import BACKGROUND
from omnikit_tiny_world.words import LANGUAGES, POSITIONS

REPEAT_REQUEST = {"en": "please repeat", "zh": "请重复"}  # asks for a transcript
PRINTED_AT = (0, 2)  # of five captions in a row, those of printed words
SNR_DB = (0.0, 15.0)  # speech over noise
NOISE: tuple[unaddressed.Kind, ...] = ("statement", "statement", "sound")  # of the view "noise"
LIVE_NOISE: tuple[unaddressed.Kind, ...] = (
    "statement", "side_talk", "backchannel", "sound", "side_talk", "backchannel", "echo", "side_talk",
)  # fmt: skip
TURNS: tuple[View | unaddressed.Kind, ...] = (  # of the view "turns"
    "speech", "statement", "text", "spoken_images", "sound", "speech", "statement", "images",
)  # fmt: skip
LIVE_TURNS: tuple[View | unaddressed.Kind, ...] = (
    "speech", "statement", "backchannel", "spoken_images", "side_talk", "speech", "sound", "text", "speech", "side_talk",
    "backchannel", "speech", "echo", "spoken_images", "side_talk", "images",
)  # fmt: skip
SEEDS = {"video_captions": "film_captions", "images": "pictures", "videos": "films", "spoken_images": "spoken_pictures",
         "spoken_videos": "spoken_films"}  # earlier names of views, which still seed, so that rows stay the same
Kind = TypeVar("Kind", bound=str)


def rows(config: TinyWorld, size: int) -> list[Row]:
    """Give `size` rows; kinds and languages alternate. "test_unseen" differs from "test" in the voices alone."""
    result = []
    word = SEEDS.get(config.view, config.view)
    seed = "reading" if config.view in ("transcribe", "dictation") else word  # they share the recordings
    split = "train" if config.split == "train" else "test"
    for index in range(size):
        rng = random.Random(f"{seed} {split} {config.seed} {index}")
        language = LANGUAGES[index % 2] if config.language == "both" else config.language
        number = index // 2 if config.language == "both" else index
        row = ROWS[config.view](config, f"{config.view}-{config.split}-{index:05}", (number, language), rng)
        if row.utterance and rng.random() < config.noisy:
            row = replace(row, noise=rng.choice(BACKGROUND), snr_db=rng.uniform(*SNR_DB))
        if row.scene and config.described and rng.random() < config.described:
            row = replace(row, description=describe(row.scene, rng))
        if row.question and not row.utterance and config.stretched and rng.random() < config.stretched:
            row = replace(row, question=stretch(row.question, language, rng), state="audio")  # as if it were spoken
        if row.utterance and config.cut and rng.random() < config.cut:
            row = replace(row, cut=True)
        result.append(replace(row, seed=f"{word}-{split}-{index:05} {config.seed}"))
    return result


def _scene(config: TinyWorld, sort: str, number: int, rng: random.Random) -> Scene:
    """Give a scene; held-out ones alternate, so that a test holds all of them."""
    training, held = scenes.divide(sort, config.seed)
    scene = rng.choice(training) if config.split == "train" else held[number % len(held)]
    if sort != "shapes":
        return scene
    return Scene(scene.color, scene.shape, scene.count, rng.choice(tuple(POSITIONS)))


def _image_question(config: TinyWorld, name: str, index: LanguageIndex, rng: random.Random) -> Row:
    """A question about an image: color, shape, count, where, word alternate."""
    number, language = index
    kind = ("color", "shape", "count", "where", "word")[number % 5]
    printed = kind == "word" or (kind == "color" and rng.random() < 0.25)
    scene = _scene(config, "word" if printed else "shapes", number // 5, rng)
    if kind == "word":
        scene = _recolored(config, scene, rng)
    return _scene_question(config, name, (kind, language), scene, rng)


def _video_question(config: TinyWorld, name: str, index: LanguageIndex, rng: random.Random) -> Row:
    """A question about a video: every second one is about its direction."""
    number, language = index
    kind = ("direction", "color", "direction", "shape")[number % 4]
    return _scene_question(config, name, (kind, language), _scene(config, "video", number // 2, rng), rng)


def _image_caption(config: TinyWorld, name: str, index: LanguageIndex, rng: random.Random) -> Row:
    """An image and a sentence about it; two of five show a printed word."""
    number, language = index
    printed = number % 5 in PRINTED_AT
    scene = _scene(config, "word" if printed else "shapes", number, rng)
    if printed:
        scene = _recolored(config, scene, rng)
    return _scene_question(config, name, ("caption", language), scene, rng)


def _recolored(config: TinyWorld, scene: Scene, rng: random.Random) -> Scene:
    """In training every second word has letters of many colors, or its color would give it away."""
    return replace(scene, color=MANY) if config.split == "train" and rng.random() < 0.5 else scene


def _video_caption(config: TinyWorld, name: str, index: LanguageIndex, rng: random.Random) -> Row:
    number, language = index
    return _scene_question(config, name, ("video caption", language), _scene(config, "video", number, rng), rng)


def _scene_question(config: TinyWorld, name: str, what: tuple[str, str], scene: Scene, rng: random.Random) -> Row:
    """Ask one kind of question in one language about a scene."""
    kind, language = what
    question = rng.choice(QUESTIONS[kind][language])
    utterance = None
    if config.view in SPOKEN and rng.random() < config.spoken:
        utterance = question_utterance(question, language, config.split, rng)
    answer = scenes.answer(scene, kind, language)
    return Row(name, language, kind, question, answer, scene, utterance, facts=scene.facts())


def _text_question(config: TinyWorld, name: str, index: LanguageIndex, rng: random.Random) -> Row:
    """A question about numbers and words; the kinds alternate."""
    number, language = index
    kind = tuple(questions.KINDS)[number % len(questions.KINDS)]
    training, held = questions.divide(kind, language, config.seed)
    question = rng.choice(training) if config.split == "train" else _scattered(held, number // len(questions.KINDS))
    utterance = None
    if config.view == "speech" and rng.random() < config.spoken:
        utterance = question_utterance(question.text, language, config.split, rng)
    return Row(name, language, kind, question.text, question.answer, utterance=utterance)


def _scattered(items: tuple[questions.Question, ...], number: int) -> questions.Question:
    """Give each item once in a scattered order, then again."""
    return items[number * 7 % len(items) if len(items) % 7 else number % len(items)]


def _reading(config: TinyWorld, name: str, index: LanguageIndex, rng: random.Random) -> Row:
    """Something to transcribe: in training half are strings of random words; no held-out question is among them."""
    number, language = index
    training, held = sentences(language, config.seed)
    own = config.view == "reading" and config.spoken_answers
    if config.split == "train":
        sources = training[number // 2 % len(training)]
        text = random_text(language, config.seed, rng, single=own) if number % 2 else rng.choice(sources)
    else:
        sources = held[number % len(held)]
        text = sources[number // len(held) % len(sources)]
    written = config.spoken < 1 and rng.random() >= config.spoken
    utterance = None
    if not written:
        utterance = in_answer_voice(text, language) if own else question_utterance(text, language, config.split, rng)
    row = Row(name, language, "reading", text, None, utterance=utterance)
    if config.view == "reading":
        return row
    prefix = REPEAT_REQUEST[language] if config.view == "dictation" else ""
    if written and language == "en":
        prefix += " "
    return replace(row, answer=text, prompt=not prefix, prefix=prefix)


def _noise(config: TinyWorld, name: str, index: LanguageIndex, rng: random.Random) -> Row:
    """What is not meant for the model."""
    number, language = index
    kind, before = cycled(LIVE_NOISE if config.live else NOISE, number)
    return unaddressed.ROWS[kind](config, name, (before, language), rng)


def _turns(config: TinyWorld, name: str, index: LanguageIndex, rng: random.Random) -> Row:
    """Questions spoken and written, with and without an image, and what is not meant for the model."""
    number, language = index
    kind, before = cycled(LIVE_TURNS if config.live else TURNS, number)
    for unasked, make in unaddressed.ROWS.items():
        if unasked == kind:
            return make(config, name, (before, language), rng)
    view = next(view for view in get_args(View) if view == kind)
    return ROWS[kind](replace(config, view=view, live=False), name, (before, language), rng)


def cycled(cycle: tuple[Kind, ...], number: int) -> tuple[Kind, int]:
    """Give what is at a number when a cycle repeats, and how many of its kind come before it."""
    rounds, place = divmod(number, len(cycle))
    return cycle[place], rounds * cycle.count(cycle[place]) + cycle[:place].count(cycle[place])


ROWS: dict[str, Callable[[TinyWorld, str, LanguageIndex, random.Random], Row]] = {
    "captions": _image_caption,
    "video_captions": _video_caption,
    "images": _image_question,
    "videos": _video_question,
    "text": _text_question,
    "spoken_captions": _image_caption,
    "spoken_images": _image_question,
    "spoken_videos": _video_question,
    "speech": _text_question,
    "reading": _reading,
    "transcribe": _reading,
    "dictation": _reading,
    "noise": _noise,
    "turns": _turns,
}
