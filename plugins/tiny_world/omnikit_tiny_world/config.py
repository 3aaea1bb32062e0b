"""The settings of the tiny world and what its rows hold. Nothing is drawn or synthesised before `build()`."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from omnikit.contracts.specs import LATER

if TYPE_CHECKING:
    from omnikit_tiny_world.model import TinyCorpus

View = Literal[
    "captions", "video_captions", "images", "videos", "text", "spoken_captions", "spoken_images", "spoken_videos", "speech",
    "reading", "transcribe", "dictation", "noise", "turns",
]  # fmt: skip
SPLITS = ("train", "test", "test_unseen")
LANGUAGES = ("en", "zh", "both")
VIEWS: dict[str, tuple[str, ...]] = {
    "captions": ("image", "text", "caption", "answer"),
    "video_captions": ("video", "text", "answer"),
    "images": ("image", "text", "answer"),
    "videos": ("video", "text", "answer"),
    "text": ("text", "answer"),
    "spoken_captions": ("image", "audio", "transcript", "answer"),
    "spoken_images": ("image", "audio", "transcript", "answer"),
    "spoken_videos": ("video", "audio", "transcript", "answer"),
    "speech": ("audio", "transcript", "answer"),
    "reading": ("audio", "transcript"),
    "transcribe": ("audio", "transcript", "answer"),
    "dictation": ("text", "audio", "transcript", "answer"),
    "noise": ("audio", "transcript", "answer"),
    "turns": ("audio", "text", "image", "answer"),
}  # view → what its rows hold
SPOKEN = ("spoken_captions", "spoken_images", "spoken_videos", "speech", "dictation")  # views whose questions may also be text
VISUAL = ("captions", "video_captions", "images", "videos")  # views whose images and videos may also be described
TRAIN, TEST = 8000, 400  # rows of a split when `size` is 0
SECONDS = 4.0  # no recording is longer
CUT_SECONDS = 0.7  # around one that is cut as a live session cuts it, at most
FRAMES = 4  # of a video, at the rate that encoders take
TRAINING_VOICES = {
    "en": ("en-us", "en", "en-gb-x-rp", "en-us+f2", "en-us+f4", "en-us+m3", "en-us+m7", "en+f5"),
    "zh": ("cmn", "cmn+f1", "cmn+f2", "cmn+f4", "cmn+f5", "cmn+m1", "cmn+m3", "cmn+m7"),
}  # seen speakers
UNSEEN_VOICES = {"en": "en-us+f3", "zh": "cmn+f3"}  # unseen speakers
ANSWER_VOICES = {"en": "en-us+f1", "zh": "cmn+m2"}  # the one voice of all answers


@dataclass(frozen=True)
class TinyWorld:
    """Drawn images, short videos, and questions about them and about numbers and words, written or spoken in two languages.

    What is held out (a color × shape × count, a printed word × its color, a color × shape × direction, two numbers to add,
    who does what in a statement) occurs in training in no view and no language.

    Args:
        split: "train"; "test" (held-out combinations, seen speakers); "test_unseen" (the same rows, unseen speakers).
        view: "captions", "video_captions" (a sentence that names all there is), "images", "videos" (a written question),
            "spoken_captions", "spoken_images", "spoken_videos" (the same, spoken), "speech" (a spoken question about
            numbers and words), "text" (the same written), "reading" (audio and transcript, no answer: for an ASR model),
            "transcribe" (a learned prompt and audio; the answer is the transcript), "dictation" (the same, asked for by a
            written question), "noise" (statements and sounds not meant for the model), "turns" (questions, noise and written
            text, for turn detection).
        language: "en", "zh", or "both", which take turns.
        size: number of rows; 0 for the split's default.
        seed: of what is held out, the order, what is drawn and the voices.
        spoken: fraction of the questions of the spoken views that are spoken; the others are written.
        noisy: fraction of the recordings that have a noise mixed in, at 0 to 15 dB.
        described: fraction of the images and videos that are described by unordered words instead of shown.
        stretched: fraction of the written questions whose words are repeated with pauses between, as frames of speech are.
        spoken_answers: whether answers are also spoken, in one voice for each language; of "reading", whether it is that voice
            that reads, single and printed words too.
        live: whether "noise" and "turns" also hold signs of attention, talk to other people, coughs, quiet rooms and the voice
            of the answers, which a live session picks up.
        cut: fraction of the recordings that are cut as a live session cuts turns: silence around, onset, level, room noise.
        wide: fraction of the images that are two squares wide or high, for tiling.
        tts: the text-to-speech component.
    """

    split: Literal["train", "test", "test_unseen"] = "train"
    view: View = "images"
    language: Literal["en", "zh", "both"] = "both"
    size: int = 0
    seed: int = 0
    spoken: float = 1.0
    noisy: float = 0.0
    described: float = field(default=0.0, metadata=LATER)
    stretched: float = field(default=0.0, metadata=LATER)
    spoken_answers: bool = field(default=False, metadata=LATER)
    live: bool = field(default=False, metadata=LATER)
    cut: float = field(default=0.0, metadata=LATER)
    wide: float = 0.1
    tts: str = "espeak"

    def __post_init__(self) -> None:
        for name, known in (("split", SPLITS), ("view", tuple(VIEWS)), ("language", LANGUAGES)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is {getattr(self, name)!r}, but tiny_world has {', '.join(known)}")
        if self.size < 0:
            raise ValueError(f"size is {self.size}, but a corpus has at least one row (0 means its default)")
        for name in ("spoken", "noisy", "described", "stretched", "cut", "wide"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, but a fraction lies between 0 and 1")
        if self.spoken != 1 and self.view not in SPOKEN:
            raise ValueError(f"spoken is {self.spoken}, but only {', '.join(SPOKEN)} may be written instead, not {self.view}")
        if self.live and self.view not in ("noise", "turns"):
            raise ValueError(f"live is true, but only noise and turns hold what nobody asks the model, not {self.view}")
        if self.described and self.view not in VISUAL:
            raise ValueError(f"described is {self.described}, but only {', '.join(VISUAL)} may be described instead, not"
                             f" {self.view}")

    @property
    def provides(self) -> tuple[str, ...]:
        """What a row holds."""
        speech = self.spoken_answers and self.view != "reading"
        held = (*VIEWS[self.view], *["text"] * (self.spoken < 1), *["speech"] * speech)
        missing: tuple[str, ...] = () if self.spoken else ("audio", "transcript")
        if self.described == 1:
            missing = ("image", "video", "caption")
        return tuple(dict.fromkeys(name for name in held if name not in missing))

    @property
    def seconds(self) -> float | None:
        """No recording is longer than this; None where nothing is spoken."""
        return SECONDS + CUT_SECONDS * (self.cut > 0) if "audio" in self.provides else None

    @property
    def text_tokens(self) -> int:
        """Tokens of text in a long row, by any tokenizer of ours; stretched and described questions are long."""
        return 72 if self.stretched or self.described else 16 if "audio" in VIEWS[self.view] else 24

    @property
    def answer_tokens(self) -> int:
        """Tokens of a long answer."""
        return 12

    @property
    def tiles(self) -> float:
        """Tiles of a row's image, of which wide ones have three, or frames of its video."""
        return FRAMES if "video" in self.provides else 1 + 2 * self.wide if "image" in self.provides else 0

    @property
    def records(self) -> bool:
        """Recordings that the cache lacks are synthesised when it is built."""
        return "audio" in VIEWS[self.view] or self.spoken_answers

    @property
    def voices(self) -> tuple[str, ...]:
        """Those of its recordings."""
        languages = LANGUAGES[:2] if self.language == "both" else (self.language,)
        questions = {key: (UNSEEN_VOICES[key],) if self.split == "test_unseen" else TRAINING_VOICES[key] for key in languages}
        return tuple(voice for key in languages for voice in (ANSWER_VOICES[key], *questions[key])) if self.records else ()

    def build(self) -> "TinyCorpus":
        """Give the rows; recordings that the cache lacks are made now, with a progress bar."""
        from omnikit_tiny_world.model import TinyCorpus

        return TinyCorpus(self)
