"""A test's file run by two processes that meet, as torchrun would start it."""

import os
import socket
import subprocess
import sys
from pathlib import Path

LIMIT = 240  # seconds


def start_two(script: Path, *arguments: object) -> None:
    """Run `python script ARGUMENTS` in two processes, and wait; what they write to stderr is the failure."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    together = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1",
                "PYTHONPATH": str(Path(__file__).parent)}
    ranks = [subprocess.Popen([sys.executable, script, *map(str, arguments)], stderr=subprocess.PIPE, text=True,
                              env={**together, "RANK": str(rank), "LOCAL_RANK": str(rank)}) for rank in range(2)]
    try:
        messages = [rank.communicate(timeout=LIMIT)[1] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert [rank.returncode for rank in ranks] == [0, 0], "\n".join(messages)
