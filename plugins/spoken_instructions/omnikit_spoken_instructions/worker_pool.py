"""Synthesis processes: each gets one job after another; the text-to-speech is one per process. Uses no row."""

import json
import os
import selectors
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from omnikit.errors import DataError, RunError
from omnikit_spoken_instructions.script import Job

Reply = dict[str, object]


def synthesize(jobs: Sequence[Job], folder: Path, tts: str, workers: int) -> Iterator[Reply]:
    """Give the processes' reply to each job, in the order in which they finish.

    Raises:
        RunError: a file cannot be written.
        DataError: a process ended by itself.
    """
    waiting = iter(jobs)
    with ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        for _ in range(min(workers, len(jobs))):
            process = stack.enter_context(_worker(folder, tts))
            assert process.stdout is not None
            selector.register(process.stdout, selectors.EVENT_READ, (process, _give(process, next(waiting))))
        while selector.get_map():
            for key, _ in selector.select():
                process, job = key.data
                yield _reply(process, job)
                following = next(waiting, None)
                if following is None:
                    selector.unregister(key.fileobj)
                else:
                    selector.modify(key.fileobj, selectors.EVENT_READ, (process, _give(process, following)))


def _give(process: "subprocess.Popen[str]", job: Job) -> Job:
    assert process.stdin is not None
    try:
        process.stdin.write(json.dumps(asdict(job)) + "\n")
        process.stdin.flush()
    except BrokenPipeError:  # _reply reports what became of the process
        pass
    return job


def _reply(process: "subprocess.Popen[str]", job: Job) -> Reply:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise DataError(f"The process that synthesized row {job.id} ended with code {process.wait()}; run the same command to"
                        " resume, or leave that row out.")
    return next(checked([json.loads(line)]))


def checked(replies: Iterable[Reply]) -> Iterator[Reply]:
    """Give replies; one that is an error ends the build with RunError."""
    for reply in replies:
        if "error" in reply:
            raise RunError(str(reply["error"]))
        yield reply


def _worker(folder: Path, tts: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.Popen([sys.executable, "-m", "omnikit_spoken_instructions.worker", str(folder), tts],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
