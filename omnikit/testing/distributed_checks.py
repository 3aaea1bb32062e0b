"""The check of a training step in two processes, which one pair of processes makes for all components of a session."""

from __future__ import annotations

import json
import os
import pickle
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

WORKER = "omnikit.testing.distributed_worker"
SECONDS = 300  # that a pair of processes may take
UNFINISHED = "its step in two processes did not end, or ended the process"


def distributed_messages(configs: Sequence[Any]) -> list[str]:
    """Train each component in two processes that average their gradients; give "" or what is wrong for each.

    A component at which the processes end or wait for ever is found by what they had finished; the others are trained in a new
    pair.
    """
    messages: list[str | None] = [None] * len(configs)
    while None in messages:
        open_ones = [index for index, message in enumerate(messages) if message is None]
        finished = _run_pair([configs[index] for index in open_ones])
        for index, message in zip(open_ones, finished, strict=False):
            messages[index] = message
        if len(finished) < len(open_ones):
            messages[open_ones[len(finished)]] = UNFINISHED
    return [message or "" for message in messages]


def _run_pair(configs: Sequence[Any]) -> list[str]:
    """Give the messages of the components that both processes finished, in order."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "configs.pickle").write_bytes(pickle.dumps([pickle.dumps(config) for config in configs]))
        processes = [subprocess.Popen([sys.executable, "-m", WORKER, name], env=environment, stderr=subprocess.DEVNULL)
                     for environment in _environments()]
        try:
            for process in processes:
                process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            pass  # what is unfinished is reported
        finally:
            for process in processes:
                process.kill()
                process.wait()
        ranks = [_lines(folder / f"{rank}.jsonl") for rank in range(2)]
    return [one or other for one, other in zip(*ranks, strict=False)]


def _lines(path: Path) -> list[str]:
    return [str(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def _environments() -> list[dict[str, str]]:
    """Give the environment of each process, as torchrun would set it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1",
              "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return [{**shared, "RANK": str(rank)} for rank in range(2)]
