"""Speaks rows: `python -m omnikit_spoken_instructions.worker FOLDER TTS`, started by voices.py.

Reads one job as JSON in a line, writes the row's two wave files and one line of JSON: hash and seconds of both, or why there
is no row. Ends with its input, so that it does not outlive a parent that was killed.
"""

import hashlib
import json
import os
import signal
import sys
from pathlib import Path

import numpy as np

from omnikit.contracts.protocols import TTS
from omnikit.data.build.recordings import Utterance
from omnikit.data.media.audio import save_audio
from omnikit.errors import DataError, OmnikitError
from omnikit.registry import component
from omnikit_spoken_instructions.script import Job
from omnikit_spoken_instructions.sound import Wave, with_noise, with_voice

AUDIO = "audio"  # folder of the wave files


def main(folder: str, tts: str) -> int:
    """Speak until there are no more jobs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends this process
    speaker: TTS = component("tts", tts)().build()
    for line in sys.stdin:
        try:
            reply = record(job(line), Path(folder), speaker)
        except OmnikitError as error:
            reply = {"error": str(error)}
        try:
            sys.stdout.write(json.dumps(reply) + "\n")
            sys.stdout.flush()
        except BrokenPipeError:  # the parent was killed or interrupted
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python complains at exit
            return 0
    return 0


def job(line: str) -> Job:
    """Read a job as voices.py wrote it."""
    values = json.loads(line)
    for name in ("asked", "answered", "other"):
        values[name] = Utterance(**values[name]) if values[name] else None
    return Job(**values)


def record(job: Job, folder: Path, speaker: TTS) -> dict[str, object]:
    """Write the two wave files of a row and describe them."""
    try:
        (question, rate), (answer, _) = _speak(speaker, job.asked), _speak(speaker, job.answered)
        other = None if job.other is None else _speak(speaker, job.other)[0]
    except DataError:  # of this text alone; what is wrong with every row is another error
        return {"id": job.id, "rejected": "cannot be spoken"}
    if len(question) > job.seconds * rate:
        return {"id": job.id, "rejected": "question sounds too long"}
    if not np.any(question) or not np.any(answer):
        return {"id": job.id, "rejected": "silent"}
    generator = np.random.default_rng(list(job.chance.encode()))
    if other is not None:
        question = with_voice(question, other, job.other_db, generator)
    if job.snr_db is not None:
        question = with_noise(question, job.snr_db, generator)
    return {"id": job.id, "facts": job.facts, "question": _write(folder, f"{job.id}-question.wav", question, rate),
            "answer": _write(folder, f"{job.id}-answer.wav", answer, rate)}


def _speak(speaker: TTS, said: Utterance) -> tuple[Wave, int]:
    wave, rate = speaker.speak(said.text, said.voice, said.speed, said.pitch)
    if not np.isfinite(wave).all():
        raise DataError(f"Voice {said.voice!r} gave NaN or infinite values for {said.text!r}.")
    return wave, rate


def _write(folder: Path, name: str, wave: Wave, rate: int) -> dict[str, object]:
    path = folder / AUDIO / name
    save_audio(path, wave, rate)
    return {"path": f"{AUDIO}/{name}", "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "seconds": round(len(wave) / rate, 3)}


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
