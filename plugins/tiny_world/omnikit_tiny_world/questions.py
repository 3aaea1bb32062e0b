"""Questions that need no image, their answers, and which of them are held out. Pure text.

A combination is what is held out as a whole: in every wording that it does not name itself, and in both languages. Its
answer follows from combinations that are trained on: the mirrored sum or comparison, the same question in another wording.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import permutations, product

from omnikit_tiny_world.words import COLORS, DIRECTIONS, OPPOSITES, SHAPES, Words, hold_out, number, translated


@dataclass(frozen=True)
class Question:
    """One question.

    Args:
        kind: its kind, a key of `KINDS`.
        combination: what is held out or not as a whole; the same in both languages.
        group: what must stay in training in another combination, or empty if nothing has to.
    """

    kind: str
    text: str
    answer: str
    combination: str
    group: str = ""


SMALL = range(1, 11)  # numbers that are added, compared, repeated
LARGE = range(1, 21)  # numbers that answers name
NUMBERS: Words = {str(value): (number(value, "en"), number(value, "zh")) for value in SMALL}
REPEATED: Words = {**COLORS, **SHAPES, **DIRECTIONS, **NUMBERS}
HELD = {"addition": 12, "comparison": 12, "opposite": 12, "sequence": 16, "repeat": 60}  # combinations of a kind


WORDINGS: dict[str, dict[str, tuple[str, ...]]] = {
    "addition": {"en": ("what is {} plus {}", "how much is {} plus {}"), "zh": ("{}加{}等于几", "{}加{}是多少")},
    "comparison": {"en": ("which is larger {} or {}", "which is smaller {} or {}"), "zh": ("{}和{}哪个更大", "{}和{}哪个更小")},
    "opposite": {
        "en": ("what is the opposite of {}", "tell me the opposite of {}", "name the opposite of {}"),
        "zh": ("{}的反义词是什么", "请告诉我{}的反义词", "什么是{}的反义词"),
    },
    "after": {
        "en": ("what comes after {}", "which number comes after {}", "tell me what comes after {}"),
        "zh": ("{}后面是什么", "{}后面是哪个数", "请告诉我{}后面是几"),
    },
    "before": {
        "en": ("what comes before {}", "which number comes before {}", "tell me what comes before {}"),
        "zh": ("{}前面是什么", "{}前面是哪个数", "请告诉我{}前面是几"),
    },
    "repeat": {"en": ("please repeat {} {}", "say after me {} {}"), "zh": ("请重复{}{}", "跟我说{}{}")},
}


def addition(language: str) -> Iterator[Question]:
    """Sums of two numbers up to ten; a combination is the two numbers in this order, its mirror is trained on."""
    for (a, b), text in product(product(SMALL, repeat=2), WORDINGS["addition"][language]):
        asked = text.format(number(a, language), number(b, language))
        yield Question("addition", asked, number(a + b, language), f"{a}+{b}", str(sorted((a, b))))


def comparison(language: str) -> Iterator[Question]:
    """Which of two numbers is larger, which is smaller; a combination is the pair in this order, its mirror is trained on."""
    larger, smaller = WORDINGS["comparison"][language]
    for (a, b), (text, value) in product(permutations(SMALL, 2), ((larger, max), (smaller, min))):
        asked = text.format(number(a, language), number(b, language))
        yield Question("comparison", asked, number(value(a, b), language), f"{a} {b}", str(sorted((a, b))))


def opposite(language: str) -> Iterator[Question]:
    """Opposites of adjectives; a combination is a word and a way to ask for it."""
    keys = list(OPPOSITES)
    for (place, word), (wording, text) in product(enumerate(keys), enumerate(WORDINGS["opposite"][language])):
        asked = text.format(translated(OPPOSITES, word, language))
        yield Question("opposite", asked, translated(OPPOSITES, keys[place ^ 1], language), f"{word} {wording}", word)


def sequence(language: str) -> Iterator[Question]:
    """What comes before or after a number; a combination is a step and a way to ask for it."""
    for name, step in (("after", 1), ("before", -1)):
        for value, (wording, text) in product(LARGE, enumerate(WORDINGS[name][language])):
            if value + step in LARGE:
                asked, group = text.format(number(value, language)), f"{name} {value}"
                yield Question("sequence", asked, number(value + step, language), f"{group} {wording}", group)


def repeat(language: str) -> Iterator[Question]:
    """Two words to say again; a combination is the two words in this order."""
    for (a, b), text in product(permutations(REPEATED, 2), WORDINGS["repeat"][language]):
        first, second = translated(REPEATED, a, language), translated(REPEATED, b, language)
        answer = f"{first} {second}" if language == "en" else first + second
        yield Question("repeat", text.format(first, second), answer, f"{a} {b}")


KINDS: dict[str, Callable[[str], Iterator[Question]]] = {
    "addition": addition,
    "comparison": comparison,
    "opposite": opposite,
    "sequence": sequence,
    "repeat": repeat,
}


@cache
def divide(kind: str, language: str, seed: int) -> tuple[tuple[Question, ...], tuple[Question, ...]]:
    """Give a kind's training questions and its held-out ones in one language."""
    questions = list(KINDS[kind](language))
    held = hold_out([(item.combination, item.group) for item in questions], HELD[kind], f"{kind} {seed}")
    training = tuple(item for item in questions if item.combination not in held)
    return training, tuple(item for item in questions if item.combination in held)
