"""What a model gives back: an answer, whole or piece by piece."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from omnikit.errors import RunError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Event:
    """A piece of an answer while it is being given; the pieces of each kind, joined, are the answer's.

    Args:
        seconds: since the question was handed over.
        text: what was written since the last event.
        codes: the codes of the segment that was handed to the codec.
        waveform: [N] in [-1, 1] at `sample_rate`, what the codec gave for it; None where it waits for what follows.
        state: what the model takes the question for, in the event that says it; "noise" is the last event.
    """

    seconds: float
    text: str = ""
    codes: tuple[int, ...] = ()
    waveform: NDArray[np.float32] | None = None
    sample_rate: int = 16000
    state: str | None = None


@dataclass(frozen=True)
class Answer:
    """What the model gives back: its text and, with a speech branch, its waveform [N] in [-1, 1] at `sample_rate`.

    `state` is what it took the question for, where its template has state tokens: "audio", "noise" (no answer) or "text".
    """

    text: str
    waveform: NDArray[np.float32] | None = None
    sample_rate: int = 16000
    codes: tuple[int, ...] = ()
    state: str | None = None

    @property
    def seconds(self) -> float:
        """How long the answer sounds."""
        return 0.0 if self.waveform is None else len(self.waveform) / self.sample_rate

    def save(self, path: str | Path) -> None:
        """Write the waveform as a 16-bit WAV; raises RunError where there is none or the file cannot be written."""
        from omnikit.data.media.audio import save_audio

        if self.waveform is None:
            raise RunError(f"{path} cannot be written: the answer has no sound, because the model has no speech branch.")
        save_audio(path, self.waveform, self.sample_rate)
