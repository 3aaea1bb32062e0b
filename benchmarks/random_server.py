"""A server of llama_omni/tiny with random weights in a process of its own, as clients meet it; its memory is that process's."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


@dataclass(frozen=True)
class RandomServer:
    """A server that runs."""

    process: int
    port: int

    @property
    def socket_url(self) -> str:
        """Its Realtime route."""
        return f"ws://127.0.0.1:{self.port}/v1/realtime?model=tiny"

    @property
    def megabytes(self) -> float:
        """Memory of the machine that it takes now."""
        status = Path(f"/proc/{self.process}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


@contextmanager
def random_server(*overrides: str) -> Iterator[RandomServer]:
    """Serve until the block ends."""
    command = [sys.executable, __file__, *overrides]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT, cwd=ROOT) as made:
        assert made.stdout
        try:
            port = int(made.stdout.readline())
            while not accepts(port):
                time.sleep(0.05)
            yield RandomServer(made.pid, port)
        finally:
            made.terminate()


def accepts(port: int) -> bool:
    """Say whether a server accepts connections."""
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def main() -> None:
    """Serve, and print the port."""
    import torch

    import omnikit
    from omnikit.serving.address import Address
    from omnikit.serving.memory import freeze_objects
    from omnikit.serving.server import bind
    from omnikit.serving.settings import Limits, Settings
    from omnikit.serving.start import make_server

    torch.set_num_threads(1)
    session = omnikit.build("llama_omni/tiny", sys.argv[1:], device="cpu")
    limits = Limits(sessions=64, requests_per_minute=100_000)
    address = Address(port=0)
    listener = bind(address, limits.send_seconds)
    server = make_server(session, Settings("tiny", limits=limits), address)
    freeze_objects()
    print(listener.getsockname()[1], flush=True)
    server.run([listener])


if __name__ == "__main__":
    main()
