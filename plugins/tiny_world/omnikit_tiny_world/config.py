"""The settings of the tiny world and what its rows hold. Draws and says nothing before `build()`."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from omnikit.contracts.specs import LATER

if TYPE_CHECKING:
    from omnikit_tiny_world.model import TinyCorpus

View = Literal[
    "captions", "film_captions", "pictures", "films", "text", "spoken_captions", "spoken_pictures", "spoken_films", "speech",
    "reading", "transcribe", "dictation", "noise", "turns",
]  # fmt: skip
SPLITS = ("train", "test", "test_unseen")
LANGUAGES = ("en", "zh", "both")
VIEWS: dict[str, tuple[str, ...]] = {
    "captions": ("image", "text", "caption", "answer"),
    "film_captions": ("video", "text", "answer"),
    "pictures": ("image", "text", "answer"),
    "films": ("video", "text", "answer"),
    "text": ("text", "answer"),
    "spoken_captions": ("image", "audio", "transcript", "answer"),
    "spoken_pictures": ("image", "audio", "transcript", "answer"),
    "spoken_films": ("video", "audio", "transcript", "answer"),
    "speech": ("audio", "transcript", "answer"),
    "reading": ("audio", "transcript"),
    "transcribe": ("audio", "transcript", "answer"),
    "dictation": ("text", "audio", "transcript", "answer"),
    "noise": ("audio", "transcript", "answer"),
    "turns": ("audio", "text", "image", "answer"),
}  # view → what its rows hold
ASKED = ("spoken_captions", "spoken_pictures", "spoken_films", "speech", "dictation")  # views whose questions may also be text
SHOWN = ("captions", "film_captions", "pictures", "films")  # views whose images and videos may also be told
TRAIN, TEST = 8000, 400  # rows of a split when `size` is 0
SECONDS = 4.0  # no recording is longer


@dataclass(frozen=True)
class TinyWorld:
    """Drawn images, short videos, and questions about them and about numbers and words, written or spoken in two languages.

    What is held out (a color × shape × count, a printed word × its color, a color × shape × direction, two numbers to add,
    who does what in a statement) occurs in training in no view and no language.

    Args:
        split: "train"; "test" (held-out combinations, voices heard in training); "test_unseen" (the same rows in voices
            never heard).
        view: "captions", "film_captions" (a sentence that names all there is), "images", "videos" (a written question),
            "spoken_captions", "spoken_pictures", "spoken_films" (the same asked aloud), "speech" (a spoken question about
            numbers and words), "text" (the same written), "reading" (audio and what is said, no answer: for an ASR model),
            "transcribe" (a learned prompt and audio; the answer is what is said), "dictation" (the same, asked in words),
            "noise" (statements and sounds not meant for the model), "turns" (questions, noise and written text, for the
            state).
        language: "en", "zh", or "both", which take turns.
        size: number of rows; 0 for the split's default.
        seed: decides what is held out, the order, what is drawn and who speaks.
        spoken: share of the questions of the spoken views that are said; the others are written.
        noisy: share of the recordings that have a noise mixed in, at 0 to 15 dB.
        told: share of the images and videos that are told in words without order instead of shown.
        drawled: share of the written questions whose words come slowly and twice, as vectors of speech do.
        voiced: whether answers are also spoken, in one voice for each language; of "reading", whether it is that voice that
            reads, single and printed words too.
        wide: share of the images that are two squares wide or high, for tiling.
        tts: the text-to-speech component that speaks.
    """

    split: Literal["train", "test", "test_unseen"] = "train"
    view: View = "pictures"
    language: Literal["en", "zh", "both"] = "both"
    size: int = 0
    seed: int = 0
    spoken: float = 1.0
    noisy: float = 0.0
    told: float = field(default=0.0, metadata=LATER)
    drawled: float = field(default=0.0, metadata=LATER)
    voiced: bool = field(default=False, metadata=LATER)
    wide: float = 0.1
    tts: str = "espeak"

    def __post_init__(self) -> None:
        for name, known in (("split", SPLITS), ("view", tuple(VIEWS)), ("language", LANGUAGES)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is {getattr(self, name)!r}, but tiny_world has {', '.join(known)}")
        if self.size < 0:
            raise ValueError(f"size is {self.size}, but a corpus has at least one row (0 means its default)")
        for name in ("spoken", "noisy", "told", "drawled", "wide"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, but a share lies between 0 and 1")
        if self.spoken != 1 and self.view not in ASKED:
            raise ValueError(f"spoken is {self.spoken}, but only {', '.join(ASKED)} may be written instead, not {self.view}")
        if self.told and self.view not in SHOWN:
            raise ValueError(f"told is {self.told}, but only {', '.join(SHOWN)} may be told instead, not {self.view}")

    @property
    def provides(self) -> tuple[str, ...]:
        """What a row holds."""
        aloud = self.voiced and self.view != "reading"
        held = (*VIEWS[self.view], *["text"] * (self.spoken < 1), *["speech"] * aloud)
        gone: tuple[str, ...] = () if self.spoken else ("audio", "transcript")
        if self.told == 1:
            gone = ("image", "video", "caption")
        return tuple(dict.fromkeys(name for name in held if name not in gone))

    @property
    def seconds(self) -> float | None:
        """No recording is longer than this; None where nothing is said."""
        return SECONDS if "audio" in self.provides else None

    def build(self) -> "TinyCorpus":
        """Give the rows; recordings that the cache lacks are made now, with a progress bar."""
        from omnikit_tiny_world.model import TinyCorpus

        return TinyCorpus(self)
