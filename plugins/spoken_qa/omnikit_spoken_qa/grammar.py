"""Questions, their answers, and which of them are held out. Pure text: uses no voices and no waveforms.

Each kind is a finite list of questions made of combinations (two numbers; a fact and a way to ask for it; three words).
A held-out combination never occurs in training, in no wording; its answer follows from combinations that do.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import permutations, product


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


NUMBERS = _words("zero one two three four five six seven eight nine ten eleven twelve")
DAYS = _words("monday tuesday wednesday thursday friday saturday sunday")
CAPITALS = {
    "france": "paris", "italy": "rome", "spain": "madrid", "japan": "tokyo", "china": "beijing", "russia": "moscow",
    "egypt": "cairo", "cuba": "havana",
}  # fmt: skip
COLORS = {
    "grass": "green", "snow": "white", "coal": "black", "blood": "red", "banana": "yellow", "sky": "blue", "milk": "white",
    "lemon": "yellow", "tomato": "red", "spinach": "green",
}  # fmt: skip
OPPOSITES = _words(
    "hot cold big small fast slow happy sad open closed light dark old young high low long short early late"
)
ASK = ("what is", "name", "tell me", "do you know")  # how a noun phrase is asked for
ASK_WHAT = ("what", "which one", "name what", "tell me what")  # how a clause is asked for
REPEATS = 2000  # word triples of the kind `repeat`, before some are held out
HELD = 40  # held-out questions of a kind, unless it has fewer groups


@dataclass(frozen=True)
class Question:
    """One question.

    Args:
        kind: its kind, a key of `KINDS`.
        text: what is asked, in lower-case words.
        answer: the one right answer, in lower-case words.
        combination: what is held out or not as a whole.
        group: what must stay in training in another combination, or empty if nothing has to.
    """

    kind: str
    text: str
    answer: str
    combination: str
    group: str = ""


def addition() -> Iterator[Question]:
    """Sums of two numbers up to twelve; a combination is a sum and a way to ask for it.

    Sums are not held out in every wording: whether so small a model generalizes from so few sums depends on its seed (28 % to
    100 % of held-out sums were right).
    """
    for (a, first), (b, second) in product(enumerate(NUMBERS), repeat=2):
        if a + b >= len(NUMBERS):
            continue
        sum_ = f"{first} plus {second}"
        for ask in ("what is", "how much is", "tell me", "do you know"):
            yield Question("addition", f"{ask} {sum_}", f"{sum_} is {NUMBERS[a + b]}", f"{ask} {sum_}", sum_)


def comparison() -> Iterator[Question]:
    """Which of two numbers up to twelve is larger or smaller; a combination is the pair in this order."""
    for (a, first), (b, second) in permutations(enumerate(NUMBERS), 2):
        low, high = (first, second) if a < b else (second, first)
        pair = f"{first} or {second}"
        for ask in ("which is", "tell me which is"):
            yield Question("comparison", f"{ask} larger {pair}", f"{high} is larger than {low}", pair)
            yield Question("comparison", f"{ask} smaller {pair}", f"{low} is smaller than {high}", pair)


def repeat() -> Iterator[Question]:
    """Three words to repeat; a combination is the three words in this order."""
    words = sorted({*NUMBERS, *DAYS, *COLORS.values()})
    rng = random.Random("repeat")
    seen: set[str] = set()
    while len(seen) < REPEATS:
        chosen = " ".join(rng.sample(words, 3))
        ask = rng.choice(("repeat after me", "please repeat", "say the words", "say after me"))
        if chosen not in seen:
            seen.add(chosen)
            yield Question("repeat", f"{ask} {chosen}", f"you said {chosen}", chosen)


def fact() -> Iterator[Question]:
    """Look-ups in two small tables; a combination is a fact and a way to ask for it."""
    tables = (("capital of", CAPITALS), ("color of", COLORS))
    for noun, table in tables:
        for thing, value in table.items():
            phrase = f"the {noun} {thing}"
            for ask in ASK:
                yield Question("fact", f"{ask} {phrase}", f"{phrase} is {value}", f"{ask} {phrase}", phrase)


def sequence() -> Iterator[Question]:
    """What comes before or after a day or a number; a combination is a step and a way to ask for it."""
    for line, direction in product((DAYS, NUMBERS), ("after", "before")):
        ring = line[1:] + line[:1] if direction == "after" else line[-1:] + line[:-1]
        for this, other in zip(line, ring, strict=True):
            step = f"{direction} {this}"
            if line is NUMBERS and step in (f"after {NUMBERS[-1]}", f"before {NUMBERS[0]}"):
                continue
            for ask in ASK_WHAT:
                text = f"{ask} comes {step}"
                yield Question("sequence", text, f"{other} comes {step}", text, step)


def opposite() -> Iterator[Question]:
    """Opposites of adjectives and adverbs; a combination is a word and a way to ask for it."""
    pairs = list(zip(OPPOSITES[::2], OPPOSITES[1::2], strict=True))
    for word, other in pairs + [(b, a) for a, b in pairs]:
        phrase = f"the opposite of {word}"
        for ask in ASK:
            yield Question("opposite", f"{ask} {phrase}", f"{phrase} is {other}", f"{ask} {phrase}", phrase)


KINDS: dict[str, Callable[[], Iterator[Question]]] = {
    "addition": addition,
    "comparison": comparison,
    "repeat": repeat,
    "fact": fact,
    "sequence": sequence,
    "opposite": opposite,
}


@cache
def divide(kind: str, seed: int) -> tuple[tuple[Question, ...], tuple[Question, ...]]:
    """Give a kind's training questions and its held-out ones, both shuffled.

    Whole combinations are held out until `HELD` questions or a tenth of all are reached, whichever is more; of each group
    at most one combination goes.
    """
    rng = random.Random(f"{kind} {seed}")
    questions = list(KINDS[kind]())
    rng.shuffle(questions)
    sizes: dict[str, int] = {}
    groups: dict[str, str] = {}
    for question in questions:
        sizes[question.combination] = sizes.get(question.combination, 0) + 1
        groups[question.combination] = question.group
    held, count = max(HELD, len(questions) // 10), 0
    held_out: set[str] = set()
    used: set[str] = set()
    for combination, size in sizes.items():
        if count >= held or (groups[combination] and groups[combination] in used):
            continue
        held_out.add(combination)
        used.add(groups[combination])
        count += size
    training = tuple(question for question in questions if question.combination not in held_out)
    return training, tuple(question for question in questions if question.combination in held_out)
