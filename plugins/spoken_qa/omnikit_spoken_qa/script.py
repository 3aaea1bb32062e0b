"""Rows of questions and answers, and the utterances to record. Seeded text; uses no waveforms."""

import random
from dataclasses import dataclass
from itertools import cycle, islice

from omnikit.data.build.recordings import Utterance
from omnikit_spoken_qa.config import ANSWER_VOICE, UNSEEN, VOICES
from omnikit_spoken_qa.grammar import KINDS, Question, divide

SPEEDS, PITCHES = (150, 210), (35, 65)  # of questions; words per minute and espeak-ng's pitch


@dataclass(frozen=True)
class Row:
    """A question with its recording, and the recording of its answer."""

    id: str
    question: Question
    question_utterance: Utterance
    answer_utterance: Utterance


def rows(split: str, size: int, seed: int) -> list[Row]:
    """Give `size` rows of a split, the kinds alternating.

    Args:
        split: "train", "test" (held-out questions, seen speakers) or "test_unseen" (held-out questions, an unseen
            speaker).
        size: number of rows; a kind with fewer questions repeats them with other voices.
        seed: decides what is held out, the order and the voices.
    """
    rng = random.Random(f"{split} {seed}")
    turns = cycle([cycle(divide(kind, seed)[split != "train"]) for kind in KINDS])
    result = []
    for index, questions in enumerate(islice(turns, size)):
        question = next(questions)
        voice = UNSEEN if split == "test_unseen" else rng.choice(VOICES)
        question_utterance = Utterance(question.text, voice, rng.randint(*SPEEDS), rng.randint(*PITCHES))
        result.append(Row(f"{split}-{index:05}", question, question_utterance, Utterance(question.answer, ANSWER_VOICE)))
    return result


def readings(split: str, size: int, seed: int) -> list[Utterance]:
    """Give what an ASR model is trained on (train) or measured on (test: the held-out answers in the answers' voice).

    Training alternates random words with answers and questions of the training; half is in the answers' voice, half in
    any; no held-out answer is among it.
    """
    held = {question.answer for kind in KINDS for question in divide(kind, seed)[1]}
    if split != "train":
        return [Utterance(text, ANSWER_VOICE) for text in sorted(held)][:size]
    rng = random.Random(f"readings {seed}")
    training = [question for kind in KINDS for question in divide(kind, seed)[0]]
    words = sorted({word for question in training for word in f"{question.text} {question.answer}".split()})
    answers, questions = ({question.answer for question in training}, {question.text for question in training})
    sentences = [sorted(answers - held), sorted(questions - held)]
    result: list[Utterance] = []
    while len(result) < size:
        random_words = " ".join(rng.choices(words, k=rng.randint(3, 7)))
        text = random_words if len(result) % 2 else rng.choice(rng.choice(sentences))
        spoken = Utterance(text, rng.choice(VOICES), rng.randint(*SPEEDS), rng.randint(*PITCHES))
        if text not in held:
            result.append(Utterance(text, ANSWER_VOICE) if rng.random() < 0.5 else spoken)
    return result


def texts(seed: int = 0) -> list[str]:
    """Give every training question and answer, and every word alone, for training a tokenizer."""
    training = [question for kind in KINDS for question in divide(kind, seed)[0]]
    sentences = [text for question in training for text in (question.text, question.answer)]
    return sentences + sorted({word for sentence in sentences for word in sentence.split()})
