"""Questions that need no picture, their answers, and which of them are held out. Pure text.

A combination is what is held out as a whole: in every wording that it does not name itself, and in both languages. Its
answer follows from combinations that are trained on: the mirrored sum or comparison, the same question in another wording.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import permutations, product

from omnikit_tiny_world.words import COLORS, DIRECTIONS, OPPOSITES, SHAPES, Words, called, hold_out, number


@dataclass(frozen=True)
class Question:
    """One question.

    Args:
        kind: its kind, a key of `KINDS`.
        language: "en" or "zh".
        combination: what is held out or not as a whole; the same in both languages.
        group: what must stay in training in another combination, or empty if nothing has to.
    """

    kind: str
    language: str
    text: str
    answer: str
    combination: str
    group: str = ""


SMALL = range(1, 11)  # numbers that are added, compared, repeated
LARGE = range(1, 21)  # numbers that answers name
NUMBERS: Words = {str(value): (number(value, "en"), number(value, "zh")) for value in SMALL}
REPEATED: Words = {**COLORS, **SHAPES, **DIRECTIONS, **NUMBERS}
HELD = {"addition": 12, "comparison": 12, "opposite": 12, "sequence": 16, "repeat": 60}  # combinations of a kind


def addition() -> Iterator[Question]:
    """Sums of two numbers up to ten; a combination is the two numbers in this order, its mirror is trained on."""
    wordings = {"en": ("what is {} plus {}", "how much is {} plus {}"), "zh": ("{}加{}等于几", "{}加{}是多少")}
    for a, b in product(SMALL, repeat=2):
        for language, texts in wordings.items():
            for text in texts:
                asked = text.format(number(a, language), number(b, language))
                yield Question("addition", language, asked, number(a + b, language), f"{a}+{b}", str(sorted((a, b))))


def comparison() -> Iterator[Question]:
    """Which of two numbers is larger or smaller; a combination is the pair in this order."""
    wordings = {
        "en": (("which is larger {} or {}", max), ("which is smaller {} or {}", min)),
        "zh": (("{}和{}哪个更大", max), ("{}和{}哪个更小", min)),
    }
    for a, b in permutations(SMALL, 2):
        for language, texts in wordings.items():
            for text, choose in texts:
                asked = text.format(number(a, language), number(b, language))
                yield Question("comparison", language, asked, number(choose(a, b), language), f"{a} {b}", str(sorted((a, b))))


def opposite() -> Iterator[Question]:
    """Opposites of adjectives; a combination is a word and a way to ask for it."""
    wordings = {
        "en": ("what is the opposite of {}", "tell me the opposite of {}", "name the opposite of {}"),
        "zh": ("{}的反义词是什么", "请告诉我{}的反义词", "什么是{}的反义词"),
    }
    keys = list(OPPOSITES)
    for place, word in enumerate(keys):
        for language, texts in wordings.items():
            for wording, text in enumerate(texts):
                asked = text.format(called(OPPOSITES, word, language))
                answer = called(OPPOSITES, keys[place ^ 1], language)
                yield Question("opposite", language, asked, answer, f"{word} {wording}", word)


def sequence() -> Iterator[Question]:
    """What comes before or after a number; a combination is a step and a way to ask for it."""
    wordings = {
        ("en", 1): ("what comes after {}", "which number comes after {}", "tell me what comes after {}"),
        ("en", -1): ("what comes before {}", "which number comes before {}", "tell me what comes before {}"),
        ("zh", 1): ("{}后面是什么", "{}后面是哪个数", "请告诉我{}后面是几"),
        ("zh", -1): ("{}前面是什么", "{}前面是哪个数", "请告诉我{}前面是几"),
    }
    for (language, step), texts in wordings.items():
        for value, (wording, text) in product(LARGE, enumerate(texts)):
            if value + step in LARGE:
                asked, group = text.format(number(value, language)), f"{value}{step:+}"
                yield Question("sequence", language, asked, number(value + step, language), f"{group} {wording}", group)


def repeat() -> Iterator[Question]:
    """Two words to say again; a combination is the two words in this order."""
    wordings = {"en": ("please repeat {} {}", "say after me {} {}"), "zh": ("请重复{}{}", "跟我说{}{}")}
    for (a, b), (language, texts) in product(permutations(REPEATED, 2), wordings.items()):
        first, second = called(REPEATED, a, language), called(REPEATED, b, language)
        for text in texts:
            answer = f"{first} {second}" if language == "en" else first + second
            yield Question("repeat", language, text.format(first, second), answer, f"{a} {b}")


KINDS: dict[str, Callable[[], Iterator[Question]]] = {
    "addition": addition,
    "comparison": comparison,
    "opposite": opposite,
    "sequence": sequence,
    "repeat": repeat,
}


@cache
def divide(kind: str, language: str, seed: int) -> tuple[tuple[Question, ...], tuple[Question, ...]]:
    """Give a kind's training questions and its held-out ones in one language."""
    questions = list(KINDS[kind]())
    held = hold_out([(item.combination, item.group) for item in questions], HELD[kind], f"{kind} {seed}")
    mine = [item for item in questions if item.language == language]
    kept = tuple(item for item in mine if item.combination not in held)
    return kept, tuple(item for item in mine if item.combination in held)
