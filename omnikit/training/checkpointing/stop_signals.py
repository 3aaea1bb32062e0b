"""Signals that stop training: what is running is finished and saved first, where it can be.

SIGTERM (a cluster ends the job), SIGUSR1 (SLURM's warning before the time is over) and SIGINT (Ctrl-C) stop it at the end of
the optimizer step, a second Ctrl-C at once. Uses no model.
"""

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_CODES = {signal.SIGTERM: 143, signal.SIGUSR1: 75}  # 75: EX_TEMPFAIL of sysexits.h, "try again"
log = logging.getLogger(__name__)


class StopSignals:
    """Owns the handlers of the signals while stages are trained; elsewhere than in the main thread it changes nothing."""

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self.deferring = False

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Handle the signals; those who handled them before do so again afterwards."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in (*EXIT_CODES, signal.SIGINT)}
        self.install()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def install(self) -> None:
        """Take the signals, whoever handles them now."""
        if threading.current_thread() is threading.main_thread():
            for number in (*EXIT_CODES, signal.SIGINT):
                signal.signal(number, self._receive)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Leave it to the loop inside to look at `received`; what was received there stops training afterwards."""
        self.deferring = True
        try:
            yield
        finally:
            self.deferring = False
        if self.received is not None:
            stop(self.received)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        again, self.received = self.received is not None, signal.Signals(number)
        if not self.deferring or (again and number == signal.SIGINT):
            stop(self.received)
        if not again:
            log.warning("%s: stops at the end of this step, and saves it.", self.received.name)


def stop(number: signal.Signals) -> None:
    """Raise KeyboardInterrupt for Ctrl-C, SystemExit with the signal's code for the others."""
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(EXIT_CODES[number])
