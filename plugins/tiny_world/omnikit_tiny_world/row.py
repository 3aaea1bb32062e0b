"""A row before anything is drawn or synthesised, and the utterances that rows share. Pure data."""

import random
from dataclasses import dataclass, field

from omnikit.data.build.recordings import Utterance
from omnikit_tiny_world.config import ANSWER_VOICES, TRAINING_VOICES, UNSEEN_VOICES
from omnikit_tiny_world.scenes import Scene
from omnikit_tiny_world.sentences import image_questions

SPEEDS, PITCHES = (150, 210), (35, 65)  # words per minute and espeak-ng's pitch
VARIANTS, IMAGE_QUESTION_VARIANTS = 16, 48  # recordings of one sentence, at most; of one of the few questions about images
LanguageIndex = tuple[int, str]  # number of a row among those of its language, and the language


@dataclass(frozen=True)
class Row:
    """One conversation before anything is drawn or synthesised.

    Args:
        question: its text, whether it is written or spoken; empty for a sound, and without words that no token is for.
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
        cut: whether the utterance is cut as a live session cuts turns.
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
    cut: bool = False
    seed: str = ""
    facts: dict[str, str] = field(default_factory=dict)


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
