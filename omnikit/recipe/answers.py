"""How a trained model answers and is scored: the sections `generate` and `evaluate` of a recipe."""

from dataclasses import dataclass, field


@dataclass
class Generate:
    """How answers are made.

    Args:
        max_new_tokens: at most.
        temperature: 0 for greedy.
        top_p: above temperature 0, draws among the most probable tokens that together have this probability.
        top_k: likewise, among this many of the most probable tokens; 0 for all.
        speak_after: characters after which a head that reads text begins to speak the first sentence, up to its last pause or
            space; None waits for its end.
    """

    max_new_tokens: int = 64
    temperature: float = 0.0
    speak_after: int | None = None
    top_p: float = 1.0
    top_k: int = 0


@dataclass
class Evaluate:
    """What `omnikit eval` scores: datasets by title, and the run of the ASR model that transcribes the answers."""

    data: dict[str, str] = field(default_factory=dict)
    asr: str | None = None
