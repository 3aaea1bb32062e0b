"""The options of `omnikit data build spoken_instructions`. Loads nothing until `build()`."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from omnikit.contracts.specs import LATER

if TYPE_CHECKING:
    from omnikit_spoken_instructions.model import SpokenInstructionsBuilder

VOICES = ("en-us", "en", "en-gb-x-rp", "en-us+f1", "en-us+f2", "en-us+f3", "en-us+f4", "en-us+f5", "en-us+m1", "en-us+m3",
          "en-us+m5", "en-us+m7", "en+f2", "en+f4", "en+m2", "en+m6")  # of espeak
MANDARIN = ("cmn", "cmn+f1", "cmn+f2", "cmn+f3", "cmn+f4", "cmn+f5", "cmn+m1", "cmn+m3", "cmn+m5", "cmn+m7")


@dataclass(frozen=True)
class SpokenInstructions:
    """Spoken questions in many voices, their text answers, and the answers in one voice, from written instructions.

    Args:
        source: JSON or JSONL of instructions: Alpaca's (instruction, input, output), UltraChat's ({"data": [question, answer,
            …]}), {"messages": [{role, content}]} or {"conversations": [{from, value}]}; the first round of each is taken.
        rewriter: "rules", or a run or recipe whose model rewrites each instruction as a spoken question, and answers it.
        fillers: fraction of the questions that get a word such as "so" or "um"; the rules alone add them.
        question_words: a longer question is rejected.
        answer_words: an answer is cut behind its last complete sentence within so many words.
        tts: the text-to-speech component.
        voices: of the questions, drawn at random; of a question with a Chinese character those of `mandarin_voices`.
        answer_voice: of all answers; of one with a Chinese character `mandarin_answer_voice`.
        speeds: words per minute of the questions, from and to.
        pitches: pitch of the questions, from and to, 0 to 100.
        seconds: a longer question is rejected.
        noise_fraction: fraction of the questions with noise.
        noise_snr_db: how far the question lies above its noise, from and to.
        overlap_fraction: fraction of the questions with overlapping speech of another voice.
        overlap_db: how far the question lies above the other voice, from and to.
        units: run whose codec makes the codes of the answers; None leaves them to training.
        limit: entries of the source that are read at most; None for all.
        seed: decides voices, speeds, pitches, fillers, noise and overlap.
        workers: synthesis processes; their number changes no file.
        engine: what runs them: "local", or "ray" for Ray Data; it changes no file either.
        address: of a Ray cluster whose machines share the dataset's folder; None starts Ray on this machine.
        mandarin_voices: of the questions in Chinese, whose characters count as words.
        mandarin_answer_voice: of all answers in Chinese.

    Source: InstructS2S-200K in LLaMA-Omni, arXiv:2409.06666.
    """

    source: str
    rewriter: str = "rules"
    fillers: float = 0.5
    question_words: int = 60
    answer_words: int = 60
    tts: str = "espeak"
    voices: tuple[str, ...] = VOICES
    answer_voice: str = "en-us"
    speeds: tuple[int, int] = (150, 210)
    pitches: tuple[int, int] = (35, 65)
    seconds: float = 30.0
    noise_fraction: float = 0.0
    noise_snr_db: tuple[float, float] = (5.0, 20.0)
    overlap_fraction: float = 0.0
    overlap_db: tuple[float, float] = (10.0, 20.0)
    units: str | None = None
    limit: int | None = None
    seed: int = 0
    workers: int = 2
    engine: Literal["local", "ray"] = "local"
    address: str | None = None
    mandarin_voices: tuple[str, ...] = field(default=MANDARIN, metadata=LATER)
    mandarin_answer_voice: str = field(default="cmn", metadata=LATER)

    def __post_init__(self) -> None:
        for name in ("fillers", "noise_fraction", "overlap_fraction"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, but a fraction is between 0 and 1")
        for name in ("question_words", "answer_words", "workers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, but must be at least 1")
        for name in ("speeds", "pitches", "noise_snr_db", "overlap_db"):
            low, high = getattr(self, name)
            if not low <= high:
                raise ValueError(f"{name} is [{low:g}, {high:g}], but must go from the lower to the higher number")
        if not self.seconds > 0:
            raise ValueError(f"seconds is {self.seconds:g}, but must be above 0")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit is {self.limit}, but must be at least 1, or null for all entries")
        if self.address is not None and self.engine != "ray":
            raise ValueError(f"address is {self.address!r}, but only engine=ray has one; add engine=ray, or leave it out")
        for name in ("voices", "mandarin_voices"):
            if not getattr(self, name):
                raise ValueError(f"{name} is empty, but a voice is needed for the questions; name at least one")

    def build(self) -> "SpokenInstructionsBuilder":
        """Give what makes the dataset; nothing is read yet."""
        from omnikit_spoken_instructions.model import SpokenInstructionsBuilder

        return SpokenInstructionsBuilder(self)
