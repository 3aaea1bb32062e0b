"""In which order a decoder gives the codes of Q codebooks: at each step one cell for each codebook, some of them empty.

Source: MusicGen, arXiv:2306.05284. Imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PatternName = Literal["parallel", "delayed", "flattened"]
PATTERNS: tuple[PatternName, ...] = ("parallel", "delayed", "flattened")


@dataclass(frozen=True)
class Pattern:
    """Which frame's code stands in a cell.

    Args:
        name: "parallel": all codes of a frame in one step; "delayed": codebook q one step behind codebook q - 1; "flattened":
            one code a step, the codebooks of a frame one after another.
        codebooks: Q.
    """

    name: PatternName
    codebooks: int

    def step(self, frame: int, codebook: int) -> int:
        """Give the step at which a frame's code of a codebook stands."""
        if self.name == "flattened":
            return frame * self.codebooks + codebook
        return frame + codebook * (self.name == "delayed")

    def frame(self, step: int, codebook: int) -> int | None:
        """Give the frame whose code of a codebook stands at a step; None where the cell is empty."""
        if self.name == "flattened":
            frame, there = divmod(step, self.codebooks)
            return frame if there == codebook else None
        frame = step - codebook * (self.name == "delayed")
        return frame if frame >= 0 else None

    def steps(self, frames: int) -> int:
        """Give the steps of so many frames; the end stands in the cell of the first codebook of the frame behind them."""
        return 1 + max(self.step(frames, 0), self.step(frames - 1, self.codebooks - 1))
