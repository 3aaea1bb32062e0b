"""The rows of every view: question, voice, scene, answer. Seeded text; uses no waveforms and no pixels."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

from omnikit.data.build.recordings import Utterance
from omnikit_tiny_world import questions, scenes, statements
from omnikit_tiny_world.config import SPOKEN, TinyWorld, View
from omnikit_tiny_world.descriptions import describe, stretch
from omnikit_tiny_world.scenes import MANY, QUESTIONS, Scene
from omnikit_tiny_world.sentences import image_questions, random_text, sentences
from omnikit_tiny_world.sounds import BACKGROUND, NOISES
from omnikit_tiny_world.words import LANGUAGES, POSITIONS

TRAINING_VOICES = {
    "en": ("en-us", "en", "en-gb-x-rp", "en-us+f2", "en-us+f4", "en-us+m3", "en-us+m7", "en+f5"),
    "zh": ("cmn", "cmn+f1", "cmn+f2", "cmn+f4", "cmn+f5", "cmn+m1", "cmn+m3", "cmn+m7"),
}  # seen speakers
UNSEEN_VOICES = {"en": "en-us+f3", "zh": "cmn+f3"}  # unseen speakers
ANSWER_VOICES = {"en": "en-us+f1", "zh": "cmn+m2"}  # the one voice of all answers
SPEEDS, PITCHES = (150, 210), (35, 65)  # words per minute and espeak-ng's pitch
VARIANTS, IMAGE_QUESTION_VARIANTS = 16, 48  # recordings of one sentence, at most; of one of the few questions about images
BABBLE_VOICES = 5
REPEAT_REQUEST = {"en": "please repeat", "zh": "请重复"}  # asks for a transcript
PRINTED_AT = (0, 2)  # of five captions in a row, those of printed words
SNR_DB = (0.0, 15.0)  # speech over noise
TURNS: tuple[View | Literal["statement", "sound"], ...] = (  # of the view "turns"
    "speech", "statement", "text", "spoken_images", "sound", "speech", "statement", "images",
)  # fmt: skip
LanguageIndex = tuple[int, str]  # number of a row among those of its language, and the language
SEEDS = {"video_captions": "film_captions", "images": "pictures", "videos": "films", "spoken_images": "spoken_pictures",
         "spoken_videos": "spoken_films"}  # earlier names of views, which still seed, so that rows stay the same


@dataclass(frozen=True)
class Row:
    """One conversation before anything is drawn or synthesised.

    Args:
        question: its text, whether it is written or spoken; empty for a sound.
        answer: None where there is none.
        scene: what is shown, if anything.
        utterance: the spoken question; None where it is written, or a sound.
        noise: a kind of noise: mixed into the utterance, or alone.
        snr_db: speech over noise.
        voices: utterances that babble is made of.
        state: the answer's state where the row gives it and not its media.
        prompt: whether a learned prompt comes first.
        prefix: text before the question.
        description: of the scene in words, where it is not shown.
        seed: of what is drawn for the row.
    """

    id: str
    language: str
    kind: str
    question: str
    answer: str | None
    scene: Scene | None = None
    utterance: Utterance | None = None
    noise: str = ""
    snr_db: float = 0.0
    voices: tuple[Utterance, ...] = ()
    state: str | None = None
    prompt: bool = False
    prefix: str = ""
    description: str = ""
    seed: str = ""
    facts: dict[str, str] = field(default_factory=dict)


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
        result.append(replace(row, seed=f"{word}-{split}-{index:05} {config.seed}"))
    return result


def answer_utterance(row: Row) -> Utterance:
    """Give the spoken answer of a row."""
    assert row.answer is not None, "views with spoken answers have answers"
    return in_answer_voice(row.answer, row.language)


def in_answer_voice(text: str, language: str) -> Utterance:
    """Give a text in the voice of the answers."""
    return Utterance(text, ANSWER_VOICES[language], 160, 50)


def question_utterance(text: str, language: str, split: str, rng: random.Random) -> Utterance:
    """Choose one of the variants of a sentence; views share them."""
    variants = IMAGE_QUESTION_VARIANTS if text in image_questions(language) else VARIANTS
    draws = random.Random(f"{text} {rng.randrange(variants)} {split == 'train'}")
    voice, speed, pitch = draws.choice(TRAINING_VOICES[language]), draws.randint(*SPEEDS), draws.randint(*PITCHES)
    return Utterance(text, UNSEEN_VOICES[language] if split == "test_unseen" else voice, speed, pitch)


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
    """What is not meant for the model: two statements, then a sound."""
    number, language = index
    if number % 3 == 2:
        return _noise_audio(config, name, (number // 3, language), rng)
    return _statement(config, name, (number - number // 3, language), rng)


def _statement(config: TinyWorld, name: str, index: LanguageIndex, rng: random.Random) -> Row:
    number, language = index
    training, held = statements.divide(language, config.seed)
    item = rng.choice(training) if config.split == "train" else held[number % len(held)]
    utterance = question_utterance(item.text, language, config.split, rng)
    return Row(name, language, "statement", item.text, item.reply, utterance=utterance, state="noise")


def _noise_audio(config: TinyWorld, name: str, index: LanguageIndex, rng: random.Random) -> Row:
    number, language = index
    kind, voices = NOISES[number % len(NOISES)], list[Utterance]()
    if kind == "babble":
        sources = statements.divide(language, config.seed)[config.split != "train"]
        drawn = rng.sample(sources, BABBLE_VOICES)
        voices = [question_utterance(item.text, language, config.split, rng) for item in drawn]
    reply = statements.NOISE_REPLY[LANGUAGES.index(language)]
    return Row(name, language, "sound", "", reply, noise=kind, voices=tuple(voices), state="noise", facts={"sound": kind})


def _turns(config: TinyWorld, name: str, index: LanguageIndex, rng: random.Random) -> Row:
    """Questions spoken and written, with and without an image, statements and sounds."""
    number, language = index
    view = TURNS[number % len(TURNS)]
    before = number // len(TURNS) * TURNS.count(view) + TURNS[: number % len(TURNS)].count(view)
    if view == "statement":
        return _statement(config, name, (before, language), rng)
    if view == "sound":
        return _noise_audio(config, name, (before, language), rng)
    return ROWS[view](replace(config, view=view), name, (before, language), rng)


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
