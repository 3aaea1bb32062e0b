"""An answer on the terminal while it is being given: its text as it is written, its sound in files, then how long all took."""

import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omnikit.commands.segments import Segments
    from omnikit.types import Event


@dataclass
class Times:
    """Seconds since the question; None where nothing of the kind came."""

    text: float | None = None
    sound: float | None = None
    last_sound: float = 0.0
    said: float = 0.0  # seconds of sound

    def notice(self, event: "Event") -> None:
        """Take one event into account."""
        if event.text and self.text is None:
            self.text = event.seconds
        if event.waveform is not None:
            self.sound = event.seconds if self.sound is None else self.sound
            self.last_sound = event.seconds
            self.said += len(event.waveform) / event.sample_rate

    def __str__(self) -> str:
        found = [f"first text {self.text:.3f} s"] if self.text is not None else []
        if self.sound is not None:
            found.append(f"first sound {self.sound:.3f} s")
            found.append(f"real-time factor {self.last_sound / self.said:.2f} ({self.last_sound:.2f} s for {self.said:.2f} s)")
        return ", ".join(found) or "neither text nor sound"


def show(events: Iterable["Event"], out: Path | None, sample_rate: int) -> None:
    """Print the text of events and write their sound to `out` (none if None), then say when what came.

    No file is begun before there is sound.
    """
    times = Times()
    sound: Segments | None = None
    with ExitStack() as stack:
        for event in events:
            times.notice(event)
            if event.text:
                sys.stdout.write(event.text)
                sys.stdout.flush()
            if out and event.waveform is not None:
                sound = sound or stack.enter_context(_segments(out, sample_rate))
                sound.say(event.waveform)
        sys.stdout.write("\n")
    if out and sound is None:
        sys.stdout.write(f"{silent(out)}\n")
    if sound:
        sys.stdout.write(f"answer  {out}  ({sound.seconds:.1f} s), {sound.count} segments in {sound.folder}\n")
    sys.stdout.write(f"times  {times}\n")


def silent(out: Path) -> str:
    """Say why `out` was not written."""
    return f"The speech head gave no codes, so there is no sound and {out} was not written."


def _segments(out: Path, sample_rate: int) -> "AbstractContextManager[Segments]":
    from omnikit.commands.segments import segments

    return segments(out, sample_rate)
