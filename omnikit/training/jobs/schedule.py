"""Which stages of a recipe are trained side by side: each begins when those whose weights it starts from are finished.

`after` alone is no reason to wait. Trains nothing itself: that do processes, which share the machine, or have a device each.
"""

import logging
import os
from collections.abc import Collection
from contextlib import ExitStack, closing
from multiprocessing.connection import wait

import torch

from omnikit.errors import OmnikitError, RunError
from omnikit.plan.plan import Plan
from omnikit.training.checkpointing.stop_signals import StopSignals
from omnikit.training.distributed import World
from omnikit.training.jobs.process import StageProcess
from omnikit.training.run_state import RunState
from omnikit.training.stage_task import StageOutcome, StageResult, completing

log = logging.getLogger(__name__)
TICK = 0.2  # seconds between two looks at signals


def check_jobs(plan: Plan, names: Collection[str], jobs: int, world: World) -> None:
    """Raise RunError if stages cannot be trained side by side by so many jobs here."""
    if jobs < 1:
        raise RunError(f"jobs is {jobs}, but must be at least 1.")
    if jobs == 1:
        return
    several = [name for name in names if plan.stages[name].stage.trainer.processes > 1]
    if world.size > 1 or several:
        what = f"stage {several[0]} is trained on several devices" if several else f"{world.size} processes were started"
        raise RunError(f"jobs is {jobs}, but {what}; train stages one after another there, without --jobs.")
    on_devices = any(plan.stages[name].stage.trainer.accelerator != "cpu" for name in names)
    if on_devices and 0 < (count := torch.cuda.device_count()) < jobs:
        raise RunError(f"jobs is {jobs}, but each has a device of its own and there are {count}; set --jobs {count}.")


def train_side_by_side(state: RunState, signals: StopSignals, jobs: int) -> list[StageResult]:
    """Train the stages of a run that are not finished, up to `jobs` of them side by side.

    Raises:
        RunError: one sentence for each stage that failed, when those beside it are finished; the rest is not begun.
        KeyboardInterrupt, SystemExit: a signal stopped the stages, which saved what they had.
    """
    with ExitStack() as stack:
        processes = [stack.enter_context(closing(StageProcess(_environment(number)))) for number in range(jobs)]
        schedule = Schedule(state, signals, processes)
        with signals.deferred():
            schedule.run()
    return [schedule.results[name] for name in state.plan.stages]


class Schedule:
    """Owns which stages wait, which process trains which, and what became of each."""

    def __init__(self, state: RunState, signals: StopSignals, processes: Collection[StageProcess]) -> None:
        self.state, self.signals = state, signals
        self.results: dict[str, StageResult] = {}
        self._waiting = list(state.plan.stages)
        self._idle, self._running = list(processes), dict[StageProcess, ExitStack]()
        self._errors: list[str] = []
        self._is_passed_on = False

    def run(self) -> None:
        """Train until nothing can be begun any more."""
        self._begin()
        while self._running:
            self._pass_on()
            ready = wait([process.connection for process in self._running], TICK)
            for process in [process for process in self._running if process.connection in ready]:
                self._end(process)
            self._begin()
        if self._errors:
            raise RunError(*self._errors)

    def _begin(self) -> None:
        """Begin what can be begun, in the recipe's order."""
        for name in list(self._waiting):
            stage = self.state.plan.stages[name]
            is_ready = all(origin in self.results for origin in stage.origins.values())
            if not is_ready or not self._idle or self._errors or self.signals.received:
                continue
            try:
                if self.state.is_to_train(name):
                    self._train(name)
                else:
                    self.results[name] = StageResult(name, stage.trained, 0, 0.0, skipped=True)
            except OmnikitError as error:
                self._fail(name, error)
            self._waiting.remove(name)

    def _train(self, name: str) -> None:
        with ExitStack() as stack:
            task = stack.enter_context(completing(self.state, self.state.plan.stages[name]))
            process = self._idle.pop(0)
            process.begin(task)
            self._running[process] = stack.pop_all()

    def _end(self, process: StageProcess) -> None:
        """Leave what `completing` began for a stage: with its result, or with what ended it before."""
        name, stack, found = process.stage, self._running.pop(process), process.outcome()
        stopped = found.result is None and found.error is None
        if stopped and self.signals.received is None:
            found = StageOutcome(error=RunError("a signal that was sent to its process alone stopped it; the same command"
                                                " resumes it."))
        try:
            with stack:
                if found.error or found.result is None:
                    raise found.error or StoppedError
        except StoppedError:
            pass
        except OmnikitError as error:
            self._fail(name, error)
        if found.result and not self._errors:
            self._finish(process, found.result)

    def _finish(self, process: StageProcess, result: StageResult) -> None:
        self.results[result.stage] = result
        self._idle.append(process)
        self.state.estimate.finish(result.stage, result.seconds)
        self.state.estimate.report(result.stage, {process.stage: process.seconds for process in self._running})

    def _fail(self, name: str, error: OmnikitError) -> None:
        for sentence in error.sentences:
            self._errors.append(f"Stage {name} failed: {sentence}" if name not in sentence else sentence)
        if self._running:
            beside = ", ".join(process.stage for process in self._running)
            log.error("%s What is trained beside it is finished first: %s.", self._errors[-1], beside)

    def _pass_on(self) -> None:
        if self.signals.received is not None and not self._is_passed_on:
            self._is_passed_on = True
            for process in self._running:
                process.signal(self.signals.received)


class StoppedError(Exception):
    """A signal stopped a stage, which saved what it had."""


def _environment(number: int) -> dict[str, str]:
    """Give what a job has beside this process's variables: a device of its own; idle threads that wait without computing."""
    own = {"PYTHONUNBUFFERED": "1", "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE")}
    if count := torch.cuda.device_count():
        visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(count)))
        own["CUDA_VISIBLE_DEVICES"] = visible.split(",")[number % count]
    return own
