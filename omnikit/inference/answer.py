"""An answer of a model, complete or as a stream of events."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from omnikit.contracts.codes import Code
from omnikit.errors import RunError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class TokenLogprob:
    """A token of an answer with its log probability, and the most probable tokens with theirs, by their texts."""

    token: str
    logprob: float
    alternatives: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Event:
    """A piece of a streamed answer; the pieces of each kind, joined, are the answer's.

    Args:
        seconds: since the question was given.
        text: generated since the last event.
        codes: the codes of the segment that the codec got.
        waveform: [N] in [-1, 1] at `sample_rate`, what the codec gave for it; None where it waits for what follows.
        state: state of the question, in the event where it becomes certain; "noise" is the last event.
        logprobs: of the tokens since the last text, where they are asked for.
        marks: (sample, characters) in order: at this sample of the answer's waveform the audio of so many characters of its
            text ends. With each segment those that its codes brought; the sample may be in a later segment.
    """

    seconds: float
    text: str = ""
    codes: tuple[Code, ...] = ()
    waveform: NDArray[np.float32] | None = None
    sample_rate: int = 16000
    state: str | None = None
    logprobs: tuple[TokenLogprob, ...] = ()
    marks: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, repr=False)
class Answer:
    """An answer: its text and, with a speech branch, its waveform [N] in [-1, 1] at `sample_rate`.

    `state` is the predicted state of the question, where its template has state tokens: "audio", "noise" (no answer) or "text".
    """

    text: str
    waveform: NDArray[np.float32] | None = None
    sample_rate: int = 16000
    codes: tuple[Code, ...] = ()
    state: str | None = None

    def __repr__(self) -> str:
        """Give the text, how long the audio lasts and the state in one line."""
        audio = f", {self.seconds:.1f} s of audio at {self.sample_rate} Hz" if self.waveform is not None else ""
        state = f", state={self.state!r}" if self.state else ""
        return f"Answer({self.text!r}{audio}{state})"

    @property
    def seconds(self) -> float:
        """Duration of the waveform."""
        return 0.0 if self.waveform is None else len(self.waveform) / self.sample_rate

    def _repr_html_(self) -> str:
        """Give the text and a player with the audio inside, for notebooks."""
        text = f"<p>{escape(self.text)}</p>"
        if self.waveform is None or not len(self.waveform):
            return text

        from omnikit.data.media.audio import wav_bytes

        wav = base64.b64encode(wav_bytes(self.waveform, self.sample_rate)).decode()
        return f'{text}<audio controls src="data:audio/wav;base64,{wav}"></audio>'

    def save(self, path: str | Path) -> None:
        """Write the waveform as a 16-bit WAV; raises RunError where there is none or the file cannot be written."""
        from omnikit.data.media.audio import save_audio

        if self.waveform is None:
            raise RunError(f"{path} cannot be written: the answer has no audio, because the model has no speech branch.")
        save_audio(path, self.waveform, self.sample_rate)
