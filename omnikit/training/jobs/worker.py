"""`python -m omnikit.training.jobs.worker DESCRIPTOR`: trains one stage after another; process.py starts it.

Tasks come, and outcomes go, over a connection. When its other end is closed the process ends: at once, as at a SIGKILL, if a
stage is being trained, because then nobody holds the run's lock any more.
"""

import logging
import os
import signal
import sys
import threading
import traceback
from multiprocessing.connection import Connection
from queue import SimpleQueue

from omnikit.errors import OmnikitError, RunError
from omnikit.training.checkpointing.stop_signals import StopSignals
from omnikit.training.distributed import ALONE
from omnikit.training.stage import quiet_lightning, train_stage
from omnikit.training.stage_task import StageOutcome, StageTask


class Tasks:
    """Owns the stages that are still to train; None ends them."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._queue = connection, SimpleQueue[StageTask | None]()
        self.is_training = False
        threading.Thread(target=self._receive, daemon=True).start()

    def next(self) -> StageTask | None:
        """Wait for the next one."""
        return self._queue.get()

    def _receive(self) -> None:
        try:
            while True:
                self._queue.put(self._connection.recv())
        except (EOFError, OSError):
            if self.is_training:
                os.kill(os.getpid(), signal.SIGKILL)
            self._queue.put(None)


def outcome(task: StageTask, signals: StopSignals) -> StageOutcome:
    """Train a stage; an error of the user's is given, the trace of any other one is printed."""
    try:
        return StageOutcome(train_stage(task, signals, ALONE))
    except OmnikitError as error:
        return StageOutcome(error=error)
    except Exception as error:  # a bug of ours or of a plugin: the stages beside it are finished first
        traceback.print_exc()
        return StageOutcome(error=RunError(f"{type(error).__name__}: {' '.join(str(error).split())} (its trace is printed"
                                           " above)"))


def main(descriptor: str) -> int:
    """Train until the other end is closed, or a signal stops it."""
    logging.basicConfig(format="%(message)s")
    connection, signals = Connection(int(descriptor)), StopSignals()
    tasks = Tasks(connection)
    quiet_lightning()
    with signals.handled():
        while task := tasks.next():
            tasks.is_training, sys.argv = True, list(task.command)
            try:
                found = outcome(task, signals)
            except (KeyboardInterrupt, SystemExit):
                connection.send(StageOutcome())
                raise
            connection.send(found)
            tasks.is_training = False
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1]))
    except KeyboardInterrupt:
        sys.exit(130)
