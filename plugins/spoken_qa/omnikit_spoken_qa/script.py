"""Who says what: rows of questions and answers, and the utterances to record. Seeded text; knows nothing of waves."""

import random
from dataclasses import dataclass
from itertools import cycle, islice

from omnikit.data.build.recordings import Utterance
from omnikit_spoken_qa.grammar import KINDS, Question, divide

VOICES = ("en-us", "en", "en-gb-x-rp", "en-us+f2", "en-us+f4", "en-us+m3", "en-us+m7", "en+f5")  # heard in training
UNSEEN = "en-us+f3"  # never heard in training
ANSWER = "en-us"  # the one voice of all answers
SPEEDS, PITCHES = (150, 210), (35, 65)  # of questions; words per minute and espeak-ng's pitch


@dataclass(frozen=True)
class Row:
    """A question with its recording, and the recording of its answer."""

    id: str
    question: Question
    asked: Utterance
    answered: Utterance


def rows(split: str, size: int, seed: int) -> list[Row]:
    """Give `size` rows of a split, the kinds taking turns.

    Args:
        split: "train", "test" (held-out questions, voices heard in training) or "test_unseen" (held-out questions, a
            voice never heard).
        size: number of rows; a kind with fewer questions repeats them with other voices.
        seed: decides what is held out, the order and the voices.
    """
    chance = random.Random(f"{split} {seed}")
    turns = cycle([cycle(divide(kind, seed)[split != "train"]) for kind in KINDS])
    result = []
    for index, questions in enumerate(islice(turns, size)):
        question = next(questions)
        voice = UNSEEN if split == "test_unseen" else chance.choice(VOICES)
        asked = Utterance(question.text, voice, chance.randint(*SPEEDS), chance.randint(*PITCHES))
        result.append(Row(f"{split}-{index:05}", question, asked, Utterance(question.answer, ANSWER)))
    return result


def readings(split: str, size: int, seed: int) -> list[Utterance]:
    """Give what an ASR model learns from (train) or is measured on (test: the held-out answers in the answers' voice).

    Training alternates random words with answers and questions of the training; half is said as answers are, half by
    everybody; no held-out answer is among it.
    """
    held = {question.answer for kind in KINDS for question in divide(kind, seed)[1]}
    if split != "train":
        return [Utterance(text, ANSWER) for text in sorted(held)][:size]
    chance = random.Random(f"readings {seed}")
    kept = [question for kind in KINDS for question in divide(kind, seed)[0]]
    words = sorted({word for question in kept for word in f"{question.text} {question.answer}".split()})
    sentences = [sorted({question.answer for question in kept} - held), sorted({question.text for question in kept} - held)]
    result: list[Utterance] = []
    while len(result) < size:
        random_words = " ".join(chance.choices(words, k=chance.randint(3, 7)))
        text = random_words if len(result) % 2 else chance.choice(chance.choice(sentences))
        said = Utterance(text, chance.choice(VOICES), chance.randint(*SPEEDS), chance.randint(*PITCHES))
        if text not in held:
            result.append(Utterance(text, ANSWER) if chance.random() < 0.5 else said)
    return result


def texts(seed: int = 0) -> list[str]:
    """Give every training question and answer, and every word alone, for training a tokenizer."""
    kept = [question for kind in KINDS for question in divide(kind, seed)[0]]
    sentences = [text for question in kept for text in (question.text, question.answer)]
    return sentences + sorted({word for sentence in sentences for word in sentence.split()})
