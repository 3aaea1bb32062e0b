"""The settings of the corpus and what its rows hold. Nothing is synthesised before `build()`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from omnikit_spoken_qa.model import SpokenCorpus

SIZES = {"train": 9600, "test": 300, "test_unseen": 300}  # rows of a split when `size` is 0
VOICES = ("en-us", "en", "en-gb-x-rp", "en-us+f2", "en-us+f4", "en-us+m3", "en-us+m7", "en+f5")  # seen speakers
UNSEEN = "en-us+f3"  # the unseen speaker
ANSWER_VOICE = "en-us"  # the one voice of all answers
SECONDS = 4.0  # no recording is longer; the longest of the shipped corpus takes 3.4 s


@dataclass(frozen=True)
class SpokenQA:
    """Spoken questions of six kinds and their spoken answers, synthesised once and cached on disk.

    The kinds are addition, comparison, repeat, fact, sequence and opposite, in equal parts. No held-out question, and no
    combination of which it is made, occurs in training.

    Args:
        split: "train"; "test" (held-out questions, seen speakers); "test_unseen" (held-out questions, an unseen speaker).
        view: "speech" (spoken question, text and spoken answer), "text" (the question as text, no audio) or "reading"
            (for an ASR model: audio and transcript, no answer; random words and sentences in training, the
            held-out answers in the answers' voice in the other splits).
        size: number of rows; 0 for the split's default.
        seed: decides what is held out, the order and the voices.
        tts: the text-to-speech component.
    """

    split: Literal["train", "test", "test_unseen"] = "train"
    view: Literal["speech", "text", "reading"] = "speech"
    size: int = 0
    seed: int = 0
    tts: str = "espeak"

    def __post_init__(self) -> None:
        if self.split not in SIZES:
            raise ValueError(f"split is {self.split!r}, but spoken_qa has {', '.join(SIZES)}")
        if self.view not in ("speech", "text", "reading"):
            raise ValueError(f"view is {self.view!r}, but spoken_qa has speech, text, reading")
        if self.size < 0:
            raise ValueError(f"size is {self.size}, but a corpus has at least one row (0 means {SIZES[self.split]})")

    @property
    def provides(self) -> tuple[str, ...]:
        """What a row holds."""
        views = {
            "speech": ("audio", "transcript", "answer", "speech"),
            "text": ("text", "answer"),
            "reading": ("audio", "transcript"),
        }
        return views[self.view]

    @property
    def seconds(self) -> float | None:
        """No question is longer than this; None where questions are text."""
        return None if self.view == "text" else SECONDS

    @property
    def text_tokens(self) -> int:
        """Tokens of text in a long row, by any tokenizer of ours."""
        return 26 if self.view == "text" else 18

    @property
    def answer_tokens(self) -> int:
        """Tokens of a long answer."""
        return 8

    @property
    def records(self) -> bool:
        """Recordings that the cache lacks are synthesised when it is built."""
        return self.view != "text"

    @property
    def voices(self) -> tuple[str, ...]:
        """Those of its recordings."""
        if not self.records:
            return ()
        return (ANSWER_VOICE, UNSEEN) if self.split == "test_unseen" else (ANSWER_VOICE, *VOICES)

    def build(self) -> "SpokenCorpus":
        """Give the rows; recordings that the cache lacks are made now, with a progress bar."""
        from omnikit_spoken_qa.model import SpokenCorpus

        return SpokenCorpus(self.split, self.view, self.size or SIZES[self.split], self.seed, self.tts)
