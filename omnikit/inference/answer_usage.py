"""The tokens that an answer took: of its prompt and of itself, by modality. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class TokenCounts:
    """Positions of the backbone; of an answer's audio, codes in time. Videos count as images."""

    text: int = 0
    audio: int = 0
    image: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.text + self.audio + self.image


@dataclass(frozen=True)
class AnswerUsage:
    """What an answer took.

    Args:
        prompt: positions of its prompt.
        cached: those of them that a prefix cache had.
        answer: its own, as far as it was made.
    """

    prompt: TokenCounts = field(default_factory=TokenCounts)
    cached: TokenCounts = field(default_factory=TokenCounts)
    answer: TokenCounts = field(default_factory=TokenCounts)
