"""Who says what about which scene: the rows of every view. Seeded text; knows nothing of waves and pixels."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

from omnikit.data.build.recordings import Utterance
from omnikit_tiny_world import questions, scenes, statements
from omnikit_tiny_world.config import ASKED, TinyWorld, View
from omnikit_tiny_world.reading import about, sentences, strings
from omnikit_tiny_world.scenes import MANY, QUESTIONS, Scene
from omnikit_tiny_world.sounds import SOUNDS, UNDER
from omnikit_tiny_world.telling import drawled, told
from omnikit_tiny_world.words import LANGUAGES, POSITIONS

MEASURED = {
    "en": ("en-us", "en", "en-gb-x-rp", "en-us+f2", "en-us+f4", "en-us+m3", "en-us+m7", "en+f5"),
    "zh": ("cmn", "cmn+f1", "cmn+f2", "cmn+f4", "cmn+f5", "cmn+m1", "cmn+m3", "cmn+m7"),
}  # voices in training
UNSEEN = {"en": "en-us+f3", "zh": "cmn+f3"}  # never heard in training
ANSWERS = {"en": "en-us+f1", "zh": "cmn+m2"}  # the one voice of all answers
SPEEDS, PITCHES = (150, 210), (35, 65)  # words per minute and espeak-ng's pitch
TAKES, FEW = 16, 48  # recordings of one sentence, at most; of one of the few questions about images
BABBLE = 5  # voices at once
DICTATED = {"en": "please repeat", "zh": "请重复"}  # asks in words for what is said
WORDS_AT = (0, 2)  # of five captions in a row, those of printed words
DECIBELS = (0.0, 15.0)  # speech over noise
MIX: tuple[View | Literal["statement", "sound"], ...] = (  # of the view "turns"
    "speech", "statement", "text", "spoken_pictures", "sound", "speech", "statement", "pictures",
)  # fmt: skip
Turn = tuple[int, str]  # how many rows of this language came before, and the language


@dataclass(frozen=True)
class Row:
    """One conversation before anything is drawn or heard.

    Args:
        asked: the question, whether it is written or said; empty for a sound.
        answer: None where there is none.
        scene: what is shown, if anything.
        said: the recording of the question; None where it is written, or a sound.
        sound: a kind of noise: under what is said, or alone.
        decibels: speech over noise.
        voices: what babble is made of.
        state: the answer's state where the row says it and not its media.
        prompt: whether a learned prompt comes first.
        before: what is written before the recording, or before what would be recorded.
        told: the scene in words, where it is not shown.
    """

    id: str
    language: str
    kind: str
    asked: str
    answer: str | None
    scene: Scene | None = None
    said: Utterance | None = None
    sound: str = ""
    decibels: float = 0.0
    voices: tuple[Utterance, ...] = ()
    state: str | None = None
    prompt: bool = False
    before: str = ""
    told: str = ""
    facts: dict[str, str] = field(default_factory=dict)


def rows(config: TinyWorld, size: int) -> list[Row]:
    """Give `size` rows; kinds and languages take turns. "test_unseen" differs from "test" in the voices alone."""
    result = []
    seed = "reading" if config.view in ("transcribe", "dictation") else config.view  # they share the recordings
    for index in range(size):
        chance = random.Random(f"{seed} {'train' if config.split == 'train' else 'test'} {config.seed} {index}")
        language = LANGUAGES[index % 2] if config.language == "both" else config.language
        turn = index // 2 if config.language == "both" else index
        row = WRITERS[config.view](config, f"{config.view}-{config.split}-{index:05}", (turn, language), chance)
        if row.said and chance.random() < config.noisy:
            row = replace(row, sound=chance.choice(UNDER), decibels=chance.uniform(*DECIBELS))
        if row.scene and config.told and chance.random() < config.told:
            row = replace(row, told=told(row.scene, chance))
        if row.asked and not row.said and config.drawled and chance.random() < config.drawled:
            row = replace(row, asked=drawled(row.asked, language, chance), state="audio")  # as if it were heard
        result.append(row)
    return result


def answering(row: Row) -> Utterance:
    """Say a row's answer, always alike."""
    assert row.answer is not None, "views that are voiced have answers"
    return aloud(row.answer, row.language)


def aloud(text: str, language: str) -> Utterance:
    """Say something in the voice of the answers."""
    return Utterance(text, ANSWERS[language], 160, 50)


def take(text: str, language: str, split: str, chance: random.Random) -> Utterance:
    """Choose one of the recordings of a sentence; views share them."""
    takes = FEW if text in about(language) else TAKES
    voice = random.Random(f"{text} {chance.randrange(takes)} {split == 'train'}")
    heard, speed, pitch = voice.choice(MEASURED[language]), voice.randint(*SPEEDS), voice.randint(*PITCHES)
    return Utterance(text, UNSEEN[language] if split == "test_unseen" else heard, speed, pitch)


def _scene(config: TinyWorld, sort: str, turn: int, chance: random.Random) -> Scene:
    """Give a scene; held-out ones take turns, so that a test meets all."""
    kept, held = scenes.divide(sort, config.seed)
    scene = chance.choice(kept) if config.split == "train" else held[turn % len(held)]
    if sort != "shapes":
        return scene
    return Scene(scene.color, scene.shape, scene.count, chance.choice(tuple(POSITIONS)))


def _shown(config: TinyWorld, name: str, turn: Turn, chance: random.Random) -> Row:
    """A question about an image: color, shape, count, where, word take turns."""
    place, language = turn
    kind = ("color", "shape", "count", "where", "word")[place % 5]
    printed = kind == "word" or (kind == "color" and chance.random() < 0.25)
    scene = _scene(config, "word" if printed else "shapes", place // 5, chance)
    if kind == "word":
        scene = _colorful(config, scene, chance)
    return _about(config, name, (kind, language), scene, chance)


def _video_row(config: TinyWorld, name: str, turn: Turn, chance: random.Random) -> Row:
    """A question about a video: every second one is which way it goes."""
    place, language = turn
    kind = ("direction", "color", "direction", "shape")[place % 4]
    return _about(config, name, (kind, language), _scene(config, "film", place // 2, chance), chance)


def _captioned(config: TinyWorld, name: str, turn: Turn, chance: random.Random) -> Row:
    """An image and a sentence about it; two of five show a printed word."""
    place, language = turn
    printed = place % 5 in WORDS_AT
    scene = _scene(config, "word" if printed else "shapes", place, chance)
    if printed:
        scene = _colorful(config, scene, chance)
    return _about(config, name, ("caption", language), scene, chance)


def _colorful(config: TinyWorld, scene: Scene, chance: random.Random) -> Scene:
    """In training every second word has letters of many colors, or its color would tell which one it is."""
    return replace(scene, color=MANY) if config.split == "train" and chance.random() < 0.5 else scene


def _video_captioned(config: TinyWorld, name: str, turn: Turn, chance: random.Random) -> Row:
    place, language = turn
    return _about(config, name, ("film caption", language), _scene(config, "film", place, chance), chance)


def _about(config: TinyWorld, name: str, what: tuple[str, str], scene: Scene, chance: random.Random) -> Row:
    """Ask one kind of question in one language about a scene."""
    kind, language = what
    asked = chance.choice(QUESTIONS[kind][language])
    said = None
    if config.view in ASKED and chance.random() < config.spoken:
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


def _read(config: TinyWorld, name: str, turn: Turn, chance: random.Random) -> Row:
    """Something said, for a asr: in training half are strings of random words; no held-out question is among them."""
    place, language = turn
    kept, held = sentences(language, config.seed)
    own = config.view == "reading" and config.voiced
    if config.split == "train":
        known = kept[place // 2 % len(kept)]
        text = strings(language, config.seed, chance, single=own) if place % 2 else chance.choice(known)
    else:
        known = held[place % len(held)]
        text = known[place // len(held) % len(known)]
    written = config.spoken < 1 and chance.random() >= config.spoken
    said = None if written else aloud(text, language) if own else take(text, language, config.split, chance)
    row = Row(name, language, "reading", text, None, said=said)
    if config.view == "reading":
        return row
    before = DICTATED[language] if config.view == "dictation" else ""
    if written and language == "en":
        before += " "
    return replace(row, answer=text, prompt=not before, before=before)


def _noise(config: TinyWorld, name: str, turn: Turn, chance: random.Random) -> Row:
    """What is not meant for the model: two statements, then a sound."""
    place, language = turn
    if place % 3 == 2:
        return _sound(config, name, (place // 3, language), chance)
    return _stated(config, name, (place - place // 3, language), chance)


def _stated(config: TinyWorld, name: str, turn: Turn, chance: random.Random) -> Row:
    place, language = turn
    kept, held = statements.divide(language, config.seed)
    said = chance.choice(kept) if config.split == "train" else held[place % len(held)]
    spoken = take(said.text, language, config.split, chance)
    return Row(name, language, "statement", said.text, said.reply, said=spoken, state="noise")


def _sound(config: TinyWorld, name: str, turn: Turn, chance: random.Random) -> Row:
    place, language = turn
    kind, voices = SOUNDS[place % len(SOUNDS)], list[Utterance]()
    if kind == "babble":
        known = statements.divide(language, config.seed)[config.split != "train"]
        voices = [take(said.text, language, config.split, chance) for said in chance.sample(known, BABBLE)]
    reply = statements.SOUND_REPLY[LANGUAGES.index(language)]
    return Row(name, language, "sound", "", reply, sound=kind, voices=tuple(voices), state="noise", facts={"sound": kind})


def _mixed(config: TinyWorld, name: str, turn: Turn, chance: random.Random) -> Row:
    """Questions said and written, with and without an image, statements and sounds."""
    place, language = turn
    view = MIX[place % len(MIX)]
    before = place // len(MIX) * MIX.count(view) + MIX[: place % len(MIX)].count(view)
    if view == "statement":
        return _stated(config, name, (before, language), chance)
    if view == "sound":
        return _sound(config, name, (before, language), chance)
    return WRITERS[view](replace(config, view=view), name, (before, language), chance)


WRITERS: dict[str, Callable[[TinyWorld, str, Turn, random.Random], Row]] = {
    "captions": _captioned,
    "film_captions": _video_captioned,
    "pictures": _shown,
    "films": _video_row,
    "text": _asked,
    "spoken_captions": _captioned,
    "spoken_pictures": _shown,
    "spoken_films": _video_row,
    "speech": _asked,
    "reading": _read,
    "transcribe": _read,
    "dictation": _read,
    "noise": _noise,
    "turns": _mixed,
}
