"""An answer on the terminal while it is being given: its text as it is written, its sound in files, then how long all took."""

import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from omnikit.inference.timing import AnswerTiming

if TYPE_CHECKING:
    from omnikit.commands.segments import WavSegments
    from omnikit.inference.answer import Event

NO_ANSWER = "(noise: no answer)"


def show(events: Iterable["Event"], out: Path | None, sample_rate: int) -> None:
    """Print the text of events and write their sound to `out` (none if None), then say when what came.

    No file is begun before there is sound.
    """
    times = AnswerTiming()
    sound: WavSegments | None = None
    with ExitStack() as stack:
        for event in events:
            times.notice(event)
            if event.state == "noise":
                sys.stdout.write(NO_ANSWER)
                out = None  # nothing is said, so nothing is missed
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


def _segments(out: Path, sample_rate: int) -> "AbstractContextManager[WavSegments]":
    from omnikit.commands.segments import segments

    return segments(out, sample_rate)
