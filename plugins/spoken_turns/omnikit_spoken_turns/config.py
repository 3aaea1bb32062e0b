"""The options of `omnikit data build spoken_questions` and `… noise_audio`. Loads nothing until `build()`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omnikit_spoken_turns.questions import SpokenQuestionsBuilder
    from omnikit_spoken_turns.statements import NoiseAudioBuilder

NOISES = ("white", "pink", "brown", "hum", "clicks", "babble")
# voices of espeak
ENGLISH = ("en-us", "en", "en-gb-x-rp", "en-us+f1", "en-us+f2", "en-us+f4", "en-us+m1", "en-us+m3", "en+f3", "en+m2")
MANDARIN = ("cmn", "cmn+f1", "cmn+f2", "cmn+f4", "cmn+m1", "cmn+m3", "cmn+m7")


@dataclass(frozen=True)
class Voices:
    """Voices and speaking style.

    Args:
        tts: the text-to-speech component.
        english: voices of a text without a Chinese character, drawn at random.
        mandarin: voices of a text with one.
        speeds: words per minute, from and to.
        pitches: from and to, 0 to 100.
        seconds: longer speech is not used.
    """

    tts: str = "espeak"
    english: tuple[str, ...] = ENGLISH
    mandarin: tuple[str, ...] = MANDARIN
    speeds: tuple[int, int] = (150, 210)
    pitches: tuple[int, int] = (35, 65)
    seconds: float = 30.0

    def __post_init__(self) -> None:
        _check_ranges(self, "speeds", "pitches")
        for name in ("english", "mandarin"):
            if not getattr(self, name):
                raise ValueError(f"{name} is empty, but a voice is needed; name at least one")
        if not self.seconds > 0:
            raise ValueError(f"seconds is {self.seconds:g}, but must be above 0")


@dataclass(frozen=True)
class BackgroundNoise:
    """Noise that is mixed into speech.

    Args:
        fraction: fraction of the spoken turns that get some.
        snr_db: how far the speech lies above it, from and to.
        kinds: drawn at random of white, pink, brown, hum, clicks and babble (other voices).
    """

    fraction: float = 0.0
    snr_db: tuple[float, float] = (5.0, 20.0)
    kinds: tuple[str, ...] = NOISES

    def __post_init__(self) -> None:
        _check_fraction("fraction", self.fraction)
        _check_ranges(self, "snr_db")
        _check_kinds(self.kinds)


@dataclass(frozen=True)
class SpokenQuestions:
    """A fraction of the written questions becomes speech; images, videos and answers stay.

    Args:
        source: the dataset: its reader's path.
        reader: the reader component that reads it.
        options: other fields of that reader, as `options="{folders: {a: images}}"`.
        fraction: fraction of the text questions that are spoken, drawn for each by the seed, the row's id and its turn.
        voices: of the questions.
        noise: noise in spoken questions, the source's own among them.
        limit: rows of the source that are read at most; None for all.
        seed: decides what is spoken, by which voice, and with which noise.

    Source: VITA-1.5's stage 2.2, arXiv:2501.01957: about half of the text questions are replaced by speech.
    """

    source: str
    reader: str = "messages_jsonl"
    options: dict[str, object] = field(default_factory=dict)
    fraction: float = 0.5
    voices: Voices = field(default_factory=Voices)
    noise: BackgroundNoise = field(default_factory=BackgroundNoise)
    limit: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        _check_fraction("fraction", self.fraction)
        _check_limit(self.limit)

    def build(self) -> SpokenQuestionsBuilder:
        """Give what makes the dataset; nothing is read yet."""
        from omnikit_spoken_turns.questions import SpokenQuestionsBuilder

        return SpokenQuestionsBuilder(self)


@dataclass(frozen=True)
class NoiseAudio:
    """Audio that is not meant for the model: spoken statements, and noises. Each answer has the state "noise".

    Args:
        source: rows whose first question is a statement and whose first answer is one to it: the path of their reader.
        reader: the reader component that reads them.
        options: other fields of that reader.
        writer: a run or recipe whose model answers the statements; None takes the rows' own answers.
        noises: rows of noise without words that are mix_at_snr.
        kinds: noises, in turns.
        noise_seconds: how long they last, from and to.
        noise_db: how at_level they are (of full scale), from and to.
        noise_answers: answers to noise without words, in turns.
        voices: of the statements.
        noise: noise in the statements.
        limit: rows of the source that are read at most; None for all.
        seed: decides voices and noises.

    Source: VITA, arXiv:2408.05211: the target is an answer to the text, behind the token for noise.
    """

    source: str
    reader: str = "messages_jsonl"
    options: dict[str, object] = field(default_factory=dict)
    writer: str | None = None
    noises: int = 0
    kinds: tuple[str, ...] = NOISES
    noise_seconds: tuple[float, float] = (1.0, 5.0)
    noise_db: tuple[float, float] = (-40.0, -15.0)
    noise_answers: tuple[str, ...] = ("I hear a noise, but nobody is asking me anything.", "There are no words in this sound.")
    voices: Voices = field(default_factory=Voices)
    noise: BackgroundNoise = field(default_factory=BackgroundNoise)
    limit: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        _check_limit(self.limit)
        _check_kinds(self.kinds)
        _check_ranges(self, "noise_seconds", "noise_db")
        if self.noises < 0:
            raise ValueError(f"noises is {self.noises}, but must be at least 0")
        if not self.noise_seconds[0] >= 0.1:
            raise ValueError(f"noise_seconds begins with {self.noise_seconds[0]:g}, but a noise lasts at least 0.1 s")
        if not self.noise_db[1] <= 0:
            raise ValueError(f"noise_db ends with {self.noise_db[1]:g}, but nothing is louder than 0 dB")
        if self.noises and not all(answer.strip() for answer in self.noise_answers or ("",)):
            raise ValueError("noise_answers holds an empty answer, but a noise is answered by a text; write one")

    def build(self) -> NoiseAudioBuilder:
        """Give what makes the dataset; nothing is read yet."""
        from omnikit_spoken_turns.statements import NoiseAudioBuilder

        return NoiseAudioBuilder(self)


def _check_fraction(name: str, fraction: float) -> None:
    if not 0 <= fraction <= 1:
        raise ValueError(f"{name} is {fraction:g}, but a fraction is between 0 and 1")


def _check_limit(limit: int | None) -> None:
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit}, but must be at least 1, or null for all rows")


def _check_kinds(kinds: tuple[str, ...]) -> None:
    if not kinds:
        raise ValueError(f"kinds is empty; name some of {', '.join(NOISES)}")
    for kind in kinds:
        if kind not in NOISES:
            raise ValueError(f"kinds holds {kind!r}, but must be one of {', '.join(NOISES)}")


def _check_ranges(options: object, *names: str) -> None:
    for name in names:
        low, high = getattr(options, name)
        if not low <= high:
            raise ValueError(f"{name} is [{low:g}, {high:g}], but must go from the lower to the higher number")
