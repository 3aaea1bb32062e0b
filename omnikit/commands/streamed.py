"""An answer on the terminal while it is being made: its text as it comes, its audio in files, then how long all took."""

import sys
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from omnikit.inference.answer_timing import AnswerTiming

if TYPE_CHECKING:
    from omnikit.data.media.wav_writer import WavSegments
    from omnikit.inference.answer import Event

NO_ANSWER = "(noise: no answer)"


def show(events: Iterable["Event"], out: Path | None, sample_rate: int) -> None:
    """Print the text of events and write their audio to `out` (none if None), then print when what came.

    No file is begun before there is audio.
    """
    times = AnswerTiming()
    audio: WavSegments | None = None
    with ExitStack() as stack:
        for event in events:
            times.add(event)
            if event.state == "noise":
                sys.stdout.write(NO_ANSWER)
                out = None  # there is no answer, so no file is missed
            if event.text:
                sys.stdout.write(event.text)
                sys.stdout.flush()
            if out and event.waveform is not None:
                from omnikit.data.media.wav_writer import wav_segments

                audio = audio or stack.enter_context(wav_segments(out, sample_rate))
                audio.write(event.waveform)
        sys.stdout.write("\n")
    if out and audio is None:
        sys.stdout.write(f"{silent(out)}\n")
    if audio:
        sys.stdout.write(f"answer  {out}  ({audio.seconds:.1f} s), {audio.count} segments in {audio.folder}\n")
    sys.stdout.write(f"times  {times}\n")


def silent(out: Path) -> str:
    """Give the sentence that states why `out` was not written."""
    return f"The speech head gave no codes, so there is no audio and {out} was not written."
