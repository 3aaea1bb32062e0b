"""Synthesizes rows: `python -m omnikit_spoken_instructions.worker FOLDER TTS`, started by worker_pool.py.

Reads one job as JSON in a line, writes the row's two audio files and one line of JSON: hash and seconds of both, or why there
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
from omnikit_spoken_instructions.mixing import Waveform, with_noise, with_voice
from omnikit_spoken_instructions.script import Job

AUDIO = "audio"  # folder of the audio files


def main(folder: str, tts: str) -> int:
    """Synthesize until there are no more jobs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends this process
    recorder = RowRecorder(folder, tts)
    for line in sys.stdin:
        reply = recorder(line)
        try:
            sys.stdout.write(json.dumps(reply) + "\n")
            sys.stdout.flush()
        except BrokenPipeError:  # the parent was killed or interrupted
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python complains at exit
            return 0
    return 0


class RowRecorder:
    """Owns a text-to-speech; writes the files of a row, and gives the reply to its job or the error that ends the build."""

    def __init__(self, folder: str, tts: str) -> None:
        self.folder = Path(folder)
        self.speaker: TTS = component("tts", tts)().build()

    def __call__(self, line: str) -> dict[str, object]:
        """Make a row of a job as JSON."""
        try:
            return record(job(line), self.folder, self.speaker)
        except OmnikitError as error:
            return {"error": str(error)}


def job(line: str) -> Job:
    """Read a job as worker_pool.py wrote it."""
    values = json.loads(line)
    for name in ("question", "answer", "other"):
        values[name] = Utterance(**values[name]) if values[name] else None
    return Job(**values)


def record(job: Job, folder: Path, speaker: TTS) -> dict[str, object]:
    """Write the two audio files of a row and describe them."""
    try:
        (question, rate), (answer, _) = _speak(speaker, job.question), _speak(speaker, job.answer)
        other = None if job.other is None else _speak(speaker, job.other)[0]
    except DataError:  # of this text alone; what is wrong with every row is another error
        return {"id": job.id, "rejected": "cannot be spoken"}
    if len(question) > job.seconds * rate:
        return {"id": job.id, "rejected": "question sounds too long"}
    if not np.any(question) or not np.any(answer):
        return {"id": job.id, "rejected": "silent"}
    generator = np.random.default_rng(list(job.noise_seed.encode()))
    if other is not None:
        question = with_voice(question, other, job.other_db, generator)
    if job.snr_db is not None:
        question = with_noise(question, job.snr_db, generator)
    return {"id": job.id, "facts": job.facts, "question": _write(folder, f"{job.id}-question.wav", question, rate),
            "answer": _write(folder, f"{job.id}-answer.wav", answer, rate)}


def _speak(speaker: TTS, utterance: Utterance) -> tuple[Waveform, int]:
    waveform, rate = speaker.speak(utterance.text, utterance.voice, utterance.speed, utterance.pitch)
    if not np.isfinite(waveform).all():
        raise DataError(f"Voice {utterance.voice!r} gave NaN or infinite values for {utterance.text!r}.")
    return waveform, rate


def _write(folder: Path, name: str, waveform: Waveform, rate: int) -> dict[str, object]:
    path = folder / AUDIO / name
    save_audio(path, waveform, rate)
    return {"path": f"{AUDIO}/{name}", "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "seconds": round(len(waveform) / rate, 3)}


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
