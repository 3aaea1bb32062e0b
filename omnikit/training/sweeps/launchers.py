"""Where the jobs of a sweep run: one after another here, side by side with joblib, or on a cluster with submitit."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from omnikit.errors import ConfigError, RunError
from omnikit.training.sweeps.sweep import SWEEPS, JobResult, SweepJob, last_numbers, run_job

if TYPE_CHECKING:
    import submitit

CLUSTERS = ("slurm", "local", "debug")


class Launcher(Protocol):
    """Runs jobs and gives their results as they come."""

    def __call__(self, jobs: Sequence[SweepJob]) -> Iterator[JobResult]: ...


def serial(jobs: Sequence[SweepJob]) -> Iterator[JobResult]:
    """Run jobs one after another in this process."""
    for one in jobs:
        yield run_job(one)


@dataclass(frozen=True)
class Joblib:
    """Runs jobs in processes of joblib.

    Args:
        settings: of hydra-joblib-launcher: n_jobs, backend, timeout, …
    """

    settings: Mapping[str, object]

    def __call__(self, jobs: Sequence[SweepJob]) -> Iterator[JobResult]:
        """Run them side by side.

        Raises:
            RunError: joblib is not installed.
        """
        require("joblib", "hydra/launcher=joblib", "hydra-joblib-launcher")
        import joblib

        chosen: dict[str, Any] = {key: value for key, value in self.settings.items() if value is not None}
        yield from joblib.Parallel(**chosen, return_as="generator_unordered")(joblib.delayed(run_job)(one) for one in jobs)


@dataclass(frozen=True)
class Submit:
    """Runs jobs on a cluster by submitit's AutoExecutor.

    Args:
        cluster: slurm; local starts processes here, debug runs in this one.
        folder: for submitit's files and the jobs' output.
        parameters: of the executor: timeout_min, gpus_per_node, slurm_partition, …
        detach: submit and end; `omnikit runs` shows what became of the jobs.
    """

    cluster: str = "slurm"
    folder: Path = SWEEPS / "submitit"
    parameters: dict[str, Any] = field(default_factory=dict)
    detach: bool = False

    def __call__(self, jobs: Sequence[SweepJob]) -> Iterator[JobResult]:
        """Submit them, and wait unless they are detached.

        Raises:
            RunError: submitit is not installed, or there is no such cluster here.
            ConfigError: a parameter is unknown or wrong.
        """
        require("submitit", "--submit", "submitit")
        import submitit
        from submitit.helpers import as_completed

        submitted: dict[submitit.Job[JobResult], SweepJob] = {}
        for place in dict.fromkeys((one.devices, one.nodes) for one in jobs):  # an array has the same resources for all
            some = [one for one in jobs if (one.devices, one.nodes) == place]
            submitted |= dict(zip(self._submit(some), some, strict=True))
        for running, one in submitted.items():
            print_job(one, running)
        if not self.detach:
            for running in as_completed(list(submitted), poll_frequency=0.2 if self.cluster != "slurm" else 10):
                yield _result(running, submitted[running], submitit)

    def _submit(self, jobs: Sequence[SweepJob]) -> list[submitit.Job[JobResult]]:
        import submitit

        try:
            executor = submitit.AutoExecutor(self.folder, cluster=self.cluster)
            executor.update_parameters(**self._tasks(jobs[0]), **self.parameters)
            with executor.batch():
                return [executor.submit(TrainJob(one)) for one in jobs]
        except (NameError, TypeError, ValueError, AssertionError) as error:  # submitit's ways to refuse a parameter
            raise ConfigError(f"--submit names a parameter that submitit refuses: {' '.join(str(error).split())}") from error
        except (RuntimeError, OSError) as error:
            raise RunError(f"the jobs cannot be submitted to {self.cluster}: {' '.join(str(error).split())}; run where sbatch"
                           " is, or set cluster: local.") from error


    def _tasks(self, one: SweepJob) -> dict[str, int]:
        """Give a task for each device of a job, unless the file sets them; debug has one, which starts the processes."""
        found = {"tasks_per_node": one.devices, "nodes": one.nodes} if one.processes > 1 and self.cluster != "debug" else {}
        return {key: value for key, value in found.items() if key not in self.parameters}


class TrainJob:
    """A job as submitit runs it; where a cluster takes its machine away, it is submitted again and resumes its run.

    Of several devices each has a task, which meets the others; a task alone starts the processes itself.
    """

    def __init__(self, job: SweepJob) -> None:
        self.job = job

    def __call__(self) -> JobResult:
        """Train."""
        if self.job.processes > 1:
            meet()
        return run_job(self.job)

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """Give what is submitted in its place; submitit calls this by its name."""
        import submitit

        return submitit.helpers.DelayedSubmission(self)


def meet() -> None:
    """State in the environment which of a submitted job's tasks this is and where they meet, as torchrun does."""
    from submitit import JobEnvironment
    from submitit.helpers import TorchDistributedEnvironment

    if (job := JobEnvironment()).num_tasks > 1:
        TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
        if job.num_nodes == 1:
            os.environ["MASTER_ADDR"] = "127.0.0.1"


def read_submit(path: Path) -> Submit:
    """Read the file of --submit: cluster, folder, detach, and parameters of submitit.

    Raises:
        ConfigError: it cannot be read, or a value is wrong.
    """
    from omnikit.recipe.presets import read_mapping

    found = read_mapping(path)
    cluster, folder, detach = (found.pop(key, default) for key, default in
                               (("cluster", "slurm"), ("folder", str(SWEEPS / "submitit")), ("detach", False)))
    if cluster not in CLUSTERS:
        raise ConfigError(f"{path}: cluster is {cluster!r}, but must be one of {', '.join(CLUSTERS)}.")
    if not isinstance(folder, str) or not isinstance(detach, bool):
        raise ConfigError(f"{path}: folder is {folder!r} and detach {detach!r}, but must be a path, and true or false.")
    return Submit(cluster, Path(folder), found, detach)


def choose(launcher: Mapping[str, object], submit: Path | None) -> Launcher:
    """Give the launcher that is asked for by Hydra's words, or by --submit.

    Raises:
        ConfigError: both are given, or it is another one of Hydra's.
    """
    name = launcher.get("use")
    if name and submit:
        raise ConfigError(f"hydra/launcher={name} and --submit both choose where jobs run; leave one out.")
    if submit:
        return read_submit(submit)
    if name in (None, "basic"):
        return serial
    if name != "joblib":
        raise ConfigError(f"hydra/launcher is {name}, but must be joblib or basic; on a cluster take --submit FILE.")
    return Joblib({key: value for key, value in launcher.items() if key != "use"})


def require(module: str, wanted: str, package: str) -> None:
    """Raise RunError where a package is not installed."""
    if find_spec(module) is None:
        raise RunError(f"{wanted} needs the package {package}, which is not installed; install it with pip install {package}.")


def print_job(one: SweepJob, running: submitit.Job[JobResult]) -> None:
    """Print under which number a job was submitted."""
    from rich.console import Console

    Console().print(f"{one.title} is {running.job_id}, output {running.paths.stdout}", soft_wrap=True, highlight=False,
                    markup=False)


def _result(running: submitit.Job[JobResult], one: SweepJob, module: Any) -> JobResult:
    """Give a job's result; one that ended without any is a failure."""
    try:
        return running.results()[0]  # of its first task, which writes
    except (module.core.utils.UncompletedJobError, module.core.utils.FailedJobError) as error:
        reason = " ".join(str(error).split())[:300]
        return JobResult(one, 0.0, last_numbers(one.folder),
                         f"it ended without a result: {reason}; see {running.paths.stderr}.")
