"""`omnikit train` on several devices of one machine: the same command once for each of them, as torchrun would start it."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, TextIO

from omnikit.errors import PlanError, RunError
from omnikit.plan.plan import Plan

GRACE = 30.0  # seconds that the other ranks have to end once one has ended badly
PASSED_ON = (signal.SIGTERM, signal.SIGUSR1)  # Ctrl-C reaches every process of a terminal by itself


# What torchrun and this module set for a process, and srun: its rank, how many there are, its rank on this machine.
LAUNCHERS = (("RANK", "WORLD_SIZE", "LOCAL_RANK"), ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"))


def numbers_of_process() -> tuple[int, int, int] | None:
    """Give this process's rank, how many there are, and its rank on this machine; None where nothing has started several.

    SLURM states such numbers in every job, so that it counts only with an address to meet at, MASTER_ADDR.

    Raises:
        RunError: the launcher's numbers are none.
    """
    for names in LAUNCHERS:
        if all(name in os.environ for name in (*names, "MASTER_ADDR")):
            try:
                rank, size, local = (int(os.environ[name]) for name in names)
            except ValueError as error:
                there = ", ".join(f"{name}={os.environ[name]!r}" for name in names)
                raise RunError(f"The environment has {there}, but a launcher sets whole numbers; unset them to train in one"
                               " process.") from error
            return rank, size, local
    return None


def launch(arguments: Sequence[str], processes: int, output: TextIO | None = None) -> int:
    """Run `omnikit ARGUMENTS` in so many processes, of which the first prints; gives the exit code.

    When one ends badly the others are stopped; what it wrote to stderr is printed unless the first gave the reason itself.

    Args:
        output: a file to print to; None for this process's own.
    """
    environment = {**os.environ, "WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes),
                   "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()),
                   "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))}
    command = [sys.executable, "-m", "omnikit.cli", *arguments]
    with tempfile.TemporaryDirectory() as folder:
        files = [(Path(folder) / str(rank)).open("w+b") for rank in range(processes)]  # closed below
        ranks = [subprocess.Popen(command, env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                                  stdout=files[rank] if rank else output, stderr=files[rank] if rank else output)
                 for rank in range(processes)]
        before = {number: signal.signal(number, lambda which, _: _pass_on(ranks, which)) for number in PASSED_ON}
        try:
            codes = _wait(ranks)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        first = next((rank for rank, code in enumerate(codes) if code not in (0, -signal.SIGTERM)), 0)
        if first and codes[0] in (0, -signal.SIGTERM):
            (output or sys.stderr).write(f"omnikit: rank {first} ended with code {codes[first]}:\n{_text(files[first])}")
        for file in files:
            file.close()
    return codes[first] if codes[first] >= 0 else 128 - codes[first]


def check_one_machine(plan: Plan) -> None:
    """Raise PlanError if a stage needs several machines, on each of which something else must start the processes."""
    for name, stage in plan.stages.items():
        if (nodes := stage.stage.trainer.nodes) > 1:
            raise PlanError(f"stages.{name}.trainer.nodes is {nodes}, but omnikit train starts processes on this machine only;"
                            " start it with torchrun or srun, one process for each device.")


def _wait(ranks: Sequence["subprocess.Popen[bytes]"]) -> list[int]:
    """Wait for all; once one has ended badly the others have GRACE seconds, and are then killed."""
    deadline: float | None = None
    while any(rank.poll() is None for rank in ranks):
        try:
            time.sleep(0.1)
        except KeyboardInterrupt:  # the ranks have it, too, and save what they have
            continue
        if deadline is None and any(rank.returncode not in (None, 0) for rank in ranks):
            deadline = time.monotonic() + GRACE
            _pass_on(ranks, signal.SIGTERM)
        if deadline is not None and time.monotonic() > deadline:
            _pass_on(ranks, signal.SIGKILL)
    return [rank.wait() for rank in ranks]


def _pass_on(ranks: Sequence["subprocess.Popen[bytes]"], number: int) -> None:
    for rank in ranks:
        with suppress(ProcessLookupError):
            rank.send_signal(number)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")[-4000:]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
