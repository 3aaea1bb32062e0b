"""Text for ASR models and tokenizers: every sentence that is spoken or answered, and strings of random words."""

import random
from functools import cache

from omnikit_tiny_world import questions, scenes, statements
from omnikit_tiny_world.scenes import QUESTIONS, Scene
from omnikit_tiny_world.words import COLORS, DIRECTIONS, LANGUAGES, OPPOSITES, POSITIONS, PRINTED, SHAPES, Words, number

WORDS = (3, 5)  # of a random English string
LETTERS = 10  # of a random Mandarin string, at most


@cache
def sentences(language: str, seed: int) -> tuple[tuple[tuple[str, ...], ...], tuple[tuple[str, ...], ...]]:
    """Give the spoken sentences of training and the held-out ones, kind by kind; questions about images are in both."""
    parts: list[tuple[tuple[str, ...], ...]] = []
    for part in (0, 1):
        kinds = [[item.text for item in questions.divide(kind, language, seed)[part]] for kind in questions.KINDS]
        kinds.append([item.text for item in statements.divide(language, seed)[part]])
        for texts in kinds:
            random.Random(f"sentences {seed}").shuffle(texts)
        parts.append((image_questions(language), *(tuple(texts) for texts in kinds)))
    return parts[0], parts[1]


@cache
def image_questions(language: str) -> tuple[str, ...]:
    """Give the questions about images and videos."""
    return tuple(text for kind, asked in QUESTIONS.items() if "caption" not in kind for text in asked[language])


def random_text(language: str, seed: int, rng: random.Random, *, single: bool = False) -> str:
    """Give random words in a random order; never a held-out question or statement.

    With `single`, one word will do and the words that are printed on images are among them, so that every word of an answer
    occurs.
    """
    words = (*vocabulary(language), *PRINTED) if single else vocabulary(language)
    while True:
        if language == "en":
            text = " ".join(rng.choices(words, k=rng.randint(1 if single else WORDS[0], WORDS[1])))
        else:
            drawn, text = rng.choices(words, k=rng.randint(1 if single else 2, 5)), ""
            for piece in drawn:
                text += piece if len(text) + len(piece) <= LETTERS else ""
        if text and text not in _held(language, seed):
            return text


@cache
def _held(language: str, seed: int) -> frozenset[str]:
    return frozenset(text for kind in sentences(language, seed)[1] for text in kind)


@cache
def vocabulary(language: str) -> tuple[str, ...]:
    """Give the vocabulary of sentences: English words; Mandarin words and fixed phrases."""
    place = LANGUAGES.index(language)
    tables: tuple[Words, ...] = (COLORS, SHAPES, DIRECTIONS, POSITIONS, OPPOSITES)
    named = [words[place] for table in tables for words in table.values()]
    phrases = [*image_questions(language)]
    phrases += [part for wordings in questions.WORDINGS.values() for text in wordings[language] for part in text.split("{}")]
    phrases += [text[place] for text in (*statements.WHO, *statements.WHAT)]
    phrases += [number(value, language) for value in questions.LARGE]
    if language == "en":
        phrases = [word for phrase in phrases for word in phrase.split()]
    return tuple(sorted({*named, *phrases} - {""}))


def texts(seed: int = 0) -> list[str]:
    """Give every sentence that rows may hold, for training a tokenizer."""
    found = [text for asked in QUESTIONS.values() for wordings in asked.values() for text in wordings]
    found += list(statements.NOISE_REPLY)
    for language in LANGUAGES:
        for kind in questions.KINDS:
            asked = [item for part in questions.divide(kind, language, seed) for item in part]
            found += [text for item in asked for text in (item.text, item.answer)]
        items = [item for part in statements.divide(language, seed) for item in part]
        found += [text for item in items for text in (item.text, item.reply)]
        for sort in ("shapes", "word", "video"):
            found += [text for part in scenes.divide(sort, seed) for scene in part for text in _scene_answers(scene, language)]
    return sorted(set(found))


def _scene_answers(scene: Scene, language: str) -> list[str]:
    """Give every answer about a scene, wherever its shapes are."""
    placed, kinds = [scene], ["caption", "color"]
    if scene.word:
        kinds.append("word")
    elif scene.direction:
        kinds += ["shape", "direction"]
    else:
        placed = [Scene(scene.color, scene.shape, scene.count, position) for position in POSITIONS]
        kinds += ["shape", "count", "where"]
    return [scenes.answer(item, kind, language) for item in placed for kind in kinds]
