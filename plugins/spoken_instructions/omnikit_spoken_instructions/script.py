"""Voice, speed and noise of each question: drawn for each row from the seed and the row's name alone."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from omnikit.data.build.recordings import Utterance
from omnikit.data.text.spoken_language import spoken_language
from omnikit_spoken_instructions.config import SpokenInstructions
from omnikit_spoken_instructions.rewriter import Rewritten


@dataclass(frozen=True)
class Job:
    """One row to synthesize.

    Args:
        snr_db: signal-to-noise ratio of the question; None for no noise.
        other: speech of another voice meanwhile, of row `other_id`; `other_db` below the question.
        noise_seed: of the noise and of when the other voice begins.
    """

    id: str
    question: Utterance
    answer: Utterance
    seconds: float
    noise_seed: str
    snr_db: float | None = None
    other: Utterance | None = None
    other_id: str = ""
    other_db: float = 0.0

    @property
    def facts(self) -> dict[str, str]:
        """Facts about the row's audio."""
        found = {"kind": self.id.partition("-")[0], "voice": self.question.voice, "speed": str(self.question.speed),
                 "pitch": str(self.question.pitch)}
        if self.snr_db is not None:
            found["noise_snr_db"] = f"{self.snr_db:.1f}"
        if self.other is not None:
            found |= {"overlap": self.other_id, "overlap_db": f"{self.other_db:.1f}"}
        return found


def jobs(items: Sequence[Rewritten], options: SpokenInstructions) -> list[Job]:
    """Give one job for each row."""
    questions = {item.id: _question(item, options) for item in items}
    names = list(questions)
    return [_job(item, questions, names, options) for item in items]


def _question(item: Rewritten, options: SpokenInstructions) -> Utterance:
    rng = random.Random(f"{options.seed} voice {item.id}")
    is_mandarin = spoken_language(item.question) == "mandarin"
    voice = rng.choice(options.mandarin_voices if is_mandarin else options.voices)
    return Utterance(item.question, voice, rng.randint(*options.speeds), rng.randint(*options.pitches))


def _job(item: Rewritten, questions: dict[str, Utterance], names: list[str], options: SpokenInstructions) -> Job:
    rng = random.Random(f"{options.seed} sound {item.id}")
    noisy, overlapped = rng.random() < options.noise_fraction, rng.random() < options.overlap_fraction
    snr, below = rng.uniform(*options.noise_snr_db), rng.uniform(*options.overlap_db)
    other = rng.choice(names)
    overlapped = overlapped and other != item.id and questions[other].voice != questions[item.id].voice
    is_mandarin = spoken_language(item.answer) == "mandarin"
    answer = Utterance(item.answer, options.mandarin_answer_voice if is_mandarin else options.answer_voice)
    return Job(item.id, questions[item.id], answer, options.seconds,
               f"{options.seed} noise {item.id}", round(snr, 1) if noisy else None, questions[other] if overlapped else None,
               other if overlapped else "", round(below, 1) if overlapped else 0.0)
