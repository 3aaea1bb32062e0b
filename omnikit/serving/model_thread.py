"""The thread that owns the model: it steps the engine, and does what others ask for between two steps."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future
from typing import TypeVar

from omnikit.contracts.types import Sample
from omnikit.inference.answer import Event
from omnikit.inference.engine import AnswerEngine, AnswerOptions, AnswerStream
from omnikit.serving.logs import log
from omnikit.serving.memory import return_freed_memory
from omnikit.serving.protocol.fields import ProtocolError

T = TypeVar("T")
RETURN_SECONDS = 2.0  # between two times that freed memory goes back to the system
SWITCH_SECONDS = 0.0005  # that the thread keeps Python while the event loop waits for it; Python's default is 5 ms


class ModelThread:
    """Owns the engine's thread, the jobs that wait for it and the watchers that it calls after each step.

    Args:
        jobs: that wait at the same time at most.
    """

    def __init__(self, engine: AnswerEngine, jobs: int) -> None:
        self.engine, self.error = engine, ""
        self._most, self._jobs = jobs, deque[Callable[[], None]]()
        self._wake, self._stopping = threading.Condition(), False
        self._watchers: list[Callable[[], None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stepped = asyncio.Event()  # set after the step that runs now; then there is a new one
        self._thread = threading.Thread(target=self._run, name="omnikit-model", daemon=True)

    def start(self) -> None:
        """Start the thread; called in the event loop that will wait for it."""
        self._loop = asyncio.get_running_loop()
        sys.setswitchinterval(SWITCH_SECONDS)
        self._thread.start()

    def stop(self) -> None:
        """End the thread after the step that runs."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def waiting(self) -> int:
        """Jobs that wait."""
        return len(self._jobs)

    @property
    def alive(self) -> bool:
        """Whether the thread runs and its model has not failed."""
        return self._thread.is_alive() and not self.error

    def watch(self, watcher: Callable[[], None]) -> None:
        """Call a function in the thread after each step, until `unwatch`; called in the thread."""
        self._watchers.append(watcher)

    def unwatch(self, watcher: Callable[[], None]) -> None:
        """Stop calling a function; called in the thread."""
        if watcher in self._watchers:
            self._watchers.remove(watcher)

    async def call(self, function: Callable[[], T]) -> T:
        """Give what a function gives that runs in the thread, between two steps.

        Raises:
            ProtocolError: too many jobs wait already, or the model has failed.
        """
        return await asyncio.wrap_future(self.submit(function))

    def submit(self, function: Callable[[], T]) -> Future[T]:
        """Let a function run in the thread before its next step, without waiting for it; raises as `call`."""
        self._check()
        future: Future[T] = Future()
        with self._wake:
            if len(self._jobs) >= self._most:
                raise ProtocolError(f"{self._most} requests wait for the model already; try again in a moment.",
                                    "server_overloaded", kind="server_error", status=503)
            self._jobs.append(lambda: _resolve(future, function))
            self._wake.notify()
        return future

    async def begin(self, sample: Sample, options: AnswerOptions) -> AnswerStream:
        """Begin an answer; it is cancelled where nobody waits for it any more. Raises as `call` and AnswerEngine.begin."""
        future = self.submit(lambda: self.engine.begin(sample, options))
        try:
            return await asyncio.shield(asyncio.wrap_future(future))
        except asyncio.CancelledError:
            future.add_done_callback(_cancel)
            raise

    async def events(self, streams: Sequence[AnswerStream]) -> AsyncIterator[tuple[int, list[Event]]]:
        """Give the events of answers as they are ready, with the number of their answer; cancels what is left.

        Raises:
            OmnikitError: an answer could not be completed.
        """
        try:
            while True:
                stepped = self._stepped
                for number, stream in enumerate(streams):
                    if ready := stream.take():
                        yield number, ready
                    if stream.error:
                        raise stream.error
                if all(stream.done for stream in streams):
                    return
                self._check()
                await stepped.wait()
        finally:
            for stream in streams:
                stream.cancel()
            self._notify()

    def _notify(self) -> None:
        """Let the thread do a step: it frees what was cancelled."""
        with self._wake:
            self._wake.notify()

    def _check(self) -> None:
        if self.error or self._stopping:
            raise ProtocolError(self.error or "The server is being stopped.", "server_error", kind="server_error", status=500)

    def _run(self) -> None:
        try:
            busy, due = False, time.monotonic() + RETURN_SECONDS
            while not self._stopping:
                self._do_jobs(wait=not busy)
                busy = self.engine.step()
                busy = self._do_jobs(wait=False) or busy  # who interrupts an answer does not get what this step made of it
                for watcher in list(self._watchers):
                    watcher()
                self._signal_loop()
                if time.monotonic() >= due:
                    return_freed_memory()
                    due = time.monotonic() + RETURN_SECONDS
        except Exception as error:  # a bug of ours: no answer may wait for ever
            log.exception("The model's thread has failed.")
            self.error = f"The model has failed ({type(error).__name__}); start the server again."
            self._fail_jobs()
            self._signal_loop()

    def _do_jobs(self, *, wait: bool) -> bool:
        """Do the jobs that are there, or wait until there is one, for some seconds; gives whether there were any."""
        with self._wake:
            if wait and not (self._jobs or self._stopping):
                self._wake.wait(RETURN_SECONDS)
            jobs = [self._jobs.popleft() for _ in range(len(self._jobs))]
        for job in jobs:
            job()
        return bool(jobs)

    def _fail_jobs(self) -> None:
        """Run what waits: each job finds the failed thread by itself."""
        with self._wake:
            jobs = list(self._jobs)
            self._jobs.clear()
        for job in jobs:
            job()

    def _signal_loop(self) -> None:
        assert self._loop, "the thread was started in a loop"
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._after_step)

    def _after_step(self) -> None:
        stepped, self._stepped = self._stepped, asyncio.Event()
        stepped.set()


def _resolve(future: Future[T], function: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(function())
    except BaseException as error:  # whoever waits gets it
        future.set_exception(error)


def _cancel(future: Future[AnswerStream]) -> None:
    if not future.cancelled() and future.exception() is None:
        future.result().cancel()
    elif not future.cancelled():
        logging.getLogger(__name__).debug("An answer that nobody waits for was refused.")
