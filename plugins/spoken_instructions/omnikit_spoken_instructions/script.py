"""Who says each question, how fast, into which noise: drawn for each row from the seed and the row's name alone."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from omnikit.data.build.recordings import Utterance
from omnikit_spoken_instructions.config import SpokenInstructions
from omnikit_spoken_instructions.rewriter import Said


@dataclass(frozen=True)
class Job:
    """One row to speak.

    Args:
        snr_db: how far the question lies above its noise; None for no noise.
        other: what somebody else says meanwhile, of row `other_id`; `other_db` below the question.
        chance: seeds the noise and when the other voice begins.
    """

    id: str
    asked: Utterance
    answered: Utterance
    seconds: float
    chance: str
    snr_db: float | None = None
    other: Utterance | None = None
    other_id: str = ""
    other_db: float = 0.0

    @property
    def facts(self) -> dict[str, str]:
        """What the row says about its sound."""
        found = {"kind": self.id.partition("-")[0], "voice": self.asked.voice, "speed": str(self.asked.speed),
                 "pitch": str(self.asked.pitch)}
        if self.snr_db is not None:
            found["noise_snr_db"] = f"{self.snr_db:.1f}"
        if self.other is not None:
            found |= {"overlap": self.other_id, "overlap_db": f"{self.other_db:.1f}"}
        return found


def jobs(said: Sequence[Said], options: SpokenInstructions) -> list[Job]:
    """Give one job for each row."""
    asked = {item.id: _asked(item, options) for item in said}
    names = list(asked)
    return [_job(item, asked, names, options) for item in said]


def _asked(item: Said, options: SpokenInstructions) -> Utterance:
    chance = random.Random(f"{options.seed} voice {item.id}")
    voice = chance.choice(options.voices)
    return Utterance(item.question, voice, chance.randint(*options.speeds), chance.randint(*options.pitches))


def _job(item: Said, asked: dict[str, Utterance], names: list[str], options: SpokenInstructions) -> Job:
    chance = random.Random(f"{options.seed} sound {item.id}")
    noisy, overlapped = chance.random() < options.noise_share, chance.random() < options.overlap_share
    snr, below = chance.uniform(*options.noise_snr_db), chance.uniform(*options.overlap_db)
    other = chance.choice(names)
    overlapped = overlapped and other != item.id and asked[other].voice != asked[item.id].voice
    return Job(item.id, asked[item.id], Utterance(item.answer, options.answer_voice), options.seconds,
               f"{options.seed} noise {item.id}", round(snr, 1) if noisy else None, asked[other] if overlapped else None,
               other if overlapped else "", round(below, 1) if overlapped else 0.0)
