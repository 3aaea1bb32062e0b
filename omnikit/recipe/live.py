"""How a live conversation takes turns: the section `live` of a recipe. It decides no weight, so it is in no fingerprint."""

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class TurnPolicy:
    """When a turn of the user begins and ends, which turns are answered, and what interrupts an answer. Times in milliseconds.

    Args:
        turn_detection: "vad" ends turns by silence; "none" leaves `commit` and `respond` to the caller.
        threshold: probability of speech at which speech begins; 0.15 below it, it ends, as in silero-vad.
        min_speech_ms: speech that begins a turn; what is shorter is dropped.
        min_silence_ms: silence that ends a turn.
        prefix_padding_ms: audio before the beginning of speech that the turn also holds.
        max_turn_ms: a longer turn ends there, and what follows is the next one.
        answer: False only commits turns; the caller asks for answers.
        interrupt: what stops an answer's audio: "speech" holds it back as soon as the user speaks, "decision" lets it play
            until the model has decided that the user's turn is a question for it, "never" lets nothing stop it: turns that
            end meanwhile are dropped.
        resume: whether audio that speech held back goes on where it stopped, if the turn was not a question.
        speculative_ms: silence after which an answer already begins, held back until `min_silence_ms`; it is discarded if the
            user goes on. None: it begins at the end of the turn.
        idle_timeout_ms: silence after an answer's end that is reported, once; None: never.
        history_turns: earlier turns, with their answers, that a prompt holds: 0 for a model that was trained on single
            questions. None: as many as the context has room for.
        models: "one" decides a turn beside the answer that it makes; "two" take turns as VITA's do, over the same weights.
    """

    turn_detection: Literal["vad", "none"] = "vad"
    threshold: float = 0.5
    min_speech_ms: int = 128
    min_silence_ms: int = 500
    prefix_padding_ms: int = 300
    max_turn_ms: int = 30000
    answer: bool = True
    interrupt: Literal["speech", "decision", "never"] = "speech"
    resume: bool = True
    speculative_ms: int | None = None
    idle_timeout_ms: int | None = None
    history_turns: int | None = None
    models: Literal["one", "two"] = "one"

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold is {self.threshold:g}, but must be between 0 and 1")
        for name in ("min_speech_ms", "prefix_padding_ms", "history_turns"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name} is {value}, but must be at least 0")
        for name in ("min_silence_ms", "max_turn_ms", "idle_timeout_ms"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}, but must be at least 1")
        if self.speculative_ms is not None and not 1 <= self.speculative_ms < self.min_silence_ms:
            raise ValueError(f"speculative_ms is {self.speculative_ms}, but must be at least 1 and below min_silence_ms, which"
                             f" is {self.min_silence_ms}; null begins no answer early")


@dataclass
class Live:
    """How `omnikit serve` and live sessions talk.

    Args:
        vad: voice activity detection, {use: silero}, with its fields; null: silero where it is installed, else energy.
        policy: see TurnPolicy.
    """

    vad: dict[str, Any] | None = None
    policy: TurnPolicy = field(default_factory=TurnPolicy)
