"""Records some utterances: `python -m omnikit.data.build.recording_worker JOBS OUT TTS`, started by recordings.py.

Prints how many utterances were recorded since the last line. Writes raw int16 samples and, beside them, their lengths.
"""

import json
import sys
from pathlib import Path

import numpy as np

from omnikit.registry import component

EVERY = 32  # utterances between two lines of progress


def main(jobs: str, out: str, tts: str) -> int:
    """Record every job; 0 on success, 1 with a sentence on stderr if the disk is full."""
    speaker = component("tts", tts)().build()
    lengths: list[int] = []
    utterances = json.loads(Path(jobs).read_text())
    try:
        with Path(out).open("wb") as file:
            for text, voice, speed, pitch in utterances:
                waveform, _ = speaker.speak(text, voice, speed, pitch)
                lengths.append(len(waveform))
                file.write(np.round(waveform * 32767).astype(np.int16).tobytes())
                if len(lengths) % EVERY == 0:
                    _report(EVERY)
        Path(out).with_suffix(".json").write_text(json.dumps(lengths))
        Path(jobs).unlink()
    except OSError as error:
        sys.stderr.write(f"recording {out}: {error.strerror}\n")
        return 1
    _report(len(utterances) % EVERY)
    return 0


def _report(count: int) -> None:
    sys.stdout.write(f"{count}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
