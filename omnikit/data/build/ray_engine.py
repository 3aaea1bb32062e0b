"""Rows of a dataset made by Ray Data: on this machine, or on a cluster whose machines share the dataset's folder.

Ray is imported when rows are made. Uses no row.
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from omnikit.errors import DataError, RunError

BLOCK = 8  # jobs that come back together; a kill loses those that are on the way
MEMORY = 200_000_000  # bytes of Ray's store on this machine: jobs and replies are text
Record = Callable[[str], Mapping[str, object]]  # a job as text to the reply


def map_jobs(jobs: Sequence[str], maker: Callable[..., Record], arguments: Sequence[object], workers: int,
             address: str | None = None) -> Iterator[dict[str, Any]]:
    """Give the reply to each job as it comes; any order.

    Args:
        maker: a class; each worker makes one of it, with `arguments`, which then turns a job into its reply.
        workers: processes.
        address: of a cluster, as ray.init takes it; None starts Ray on this machine and ends it again.

    Raises:
        RunError: Ray is not installed, or the cluster does not answer.
        DataError: a worker ended by itself.
    """
    if find_spec("ray") is None:
        raise RunError("engine=ray needs the package ray, which is not installed; install it with pip install 'ray[data]', or"
                       " leave engine out.")
    if not jobs:
        return
    with _connected(address, workers):
        import ray

        ray.data.DataContext.get_current().enable_progress_bars = False
        blocks = min(len(jobs), max(workers, math.ceil(len(jobs) / BLOCK)))
        rows = ray.data.from_items([{"job": job} for job in jobs], override_num_blocks=blocks)
        pool = ray.data.ActorPoolStrategy(size=min(workers, blocks))
        made = rows.map(_Worker, fn_constructor_args=(maker, tuple(arguments)), compute=pool)  # type: ignore[arg-type]  # a class
        try:
            for row in made.iter_rows():
                yield json.loads(row["reply"])
        except ray.exceptions.RayError as error:
            raise DataError(f"A worker of Ray ended by itself: {_first_line(error)}; run the same command to resume, or with"
                            " engine=local to find the row.") from error


class _Worker:
    """Makes replies in a process of Ray."""

    def __init__(self, maker: Callable[..., Record], arguments: tuple[object, ...]) -> None:
        self._record = maker(*arguments)

    def __call__(self, row: dict[str, str]) -> dict[str, str]:
        return {"reply": json.dumps(self._record(row["job"]))}


@contextmanager
def _connected(address: str | None, workers: int) -> Iterator[None]:
    """Connect to a cluster, or start Ray here; what is connected already stays so."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would report each start over the network
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray

    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)

    if ray.is_initialized():
        yield
        return
    here: dict[str, Any] = {"num_cpus": workers + 1, "object_store_memory": MEMORY, "include_dashboard": False}
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **({} if address else here))
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise RunError(f"Ray does not answer at {address or 'this machine'}: {_first_line(error)}; start it there with"
                       " ray start --head, or leave address out.") from error
    try:
        yield
    finally:
        ray.shutdown()


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__
