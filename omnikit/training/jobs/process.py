"""A process that trains stages for this one: started, given tasks, signalled, its lines printed. Chooses no stage."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing import Pipe
from typing import IO, TextIO

from omnikit.errors import RunError
from omnikit.training.stage_task import StageOutcome, StageTask

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)  # they end it while it still starts


class StageProcess:
    """Owns one process, from its first stage on.

    Args:
        environment: what it has beside this process's variables.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.connection, self._other = Pipe()
        self.stage, self._begun = "", 0.0  # that it trains, since when
        self._environment = environment
        self._process: subprocess.Popen[str] | None = None
        self._relays: list[threading.Thread] = []

    def begin(self, task: StageTask) -> None:
        """Let it train a stage.

        Raises:
            RunError: the process is not there any more.
        """
        if self._process is None:
            self._process = self._start()
        self.stage, self._begun = task.stage.name, time.monotonic()
        try:
            self.connection.send(task)
        except OSError as error:
            raise RunError("the process of its job ended before it; the same command resumes the run.") from error

    @property
    def seconds(self) -> float:
        """Since its stage began."""
        return time.monotonic() - self._begun

    def outcome(self) -> StageOutcome:
        """Give what became of its stage, once its connection is ready; a process that ended without a word is an error."""
        try:
            found: StageOutcome = self.connection.recv()
        except (EOFError, OSError):
            assert self._process is not None, "it has begun"
            code = self._process.wait()
            how = signal.Signals(-code).name if code < 0 else f"code {code}"
            found = StageOutcome(error=None if -code in STOPPING else RunError(f"its process ended with {how}; the same command"
                                                                               " resumes it."))
        self.stage = ""
        return found

    def signal(self, number: int) -> None:
        """Pass a signal on."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    def close(self) -> None:
        """End it, at once if it trains, and print what it has still written."""
        self._other.close()
        self.connection.close()
        if self._process is not None:
            self._process.wait()
            for relay in self._relays:
                relay.join()

    def _start(self) -> "subprocess.Popen[str]":
        paths = os.pathsep.join(path for path in sys.path if path)
        process = subprocess.Popen(  # in a session of its own: Ctrl-C reaches this process alone, which passes it on
            [sys.executable, "-m", "omnikit.training.jobs.worker", str(self._other.fileno())], text=True, errors="replace",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
            env={**os.environ, "PYTHONPATH": paths, **self._environment}, pass_fds=[self._other.fileno()])
        self._other.close()  # or the end of that process would not show here
        for stream, out in ((process.stdout, sys.stdout), (process.stderr, sys.stderr)):
            assert stream is not None, "it was asked for"
            self._relays.append(threading.Thread(target=self._relay, args=(stream, out), daemon=True))
            self._relays[-1].start()
        return process

    def _relay(self, stream: IO[str], out: TextIO) -> None:
        """Print each line, with the stage's name before it."""
        for line in stream:
            out.write(line if line.startswith(self.stage) else f"{self.stage}: {line}")
            out.flush()
