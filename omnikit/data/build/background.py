"""Recordings made by another process while this one trains on something else. Waits for nothing, and reports no error.

Whoever builds a dataset makes what is missing, or waits for the process that is making it (see recordings.py): what is
recorded is the same. The process ends with the one that started it, however that ends; an error comes up again where the
dataset is built for use.
"""

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from omnikit.contracts.configs import ReaderConfig
from omnikit.contracts.optional import row_options

NICENESS = 19  # training goes first


@contextmanager
def recording(readers: Sequence[ReaderConfig]) -> Iterator[None]:
    """Let another process build, one after another, those of the datasets that synthesise their recordings."""
    wanted = list(dict.fromkeys(reader for reader in readers if row_options(reader).records))
    worker = _start(wanted) if wanted else None
    try:
        yield
    finally:
        if worker:
            _stop(worker)


def main() -> int:
    """Build the datasets that come, pickled, on stdin; end with whoever holds its other end."""
    os.nice(NICENESS)
    readers: list[ReaderConfig] = pickle.load(sys.stdin.buffer)  # written by `_start`
    threading.Thread(target=_end_with_parent, daemon=True).start()
    for reader in readers:
        with suppress(Exception):  # it comes up again where the dataset is built for use
            reader.build()
    return 0


def _start(readers: Sequence[ReaderConfig]) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    worker = subprocess.Popen(  # in a session of its own: Ctrl-C reaches this process alone, which then ends it
        [sys.executable, "-m", "omnikit.data.build.background"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, env=environment, start_new_session=True)
    assert worker.stdin is not None, "it was asked for"
    with suppress(BrokenPipeError):
        pickle.dump(list(readers), worker.stdin)
        worker.stdin.flush()
    return worker


def _stop(worker: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError):
        os.killpg(worker.pid, signal.SIGTERM)
    assert worker.stdin is not None, "it was asked for"
    with suppress(BrokenPipeError):
        worker.stdin.close()
    worker.wait()


def _end_with_parent() -> None:
    sys.stdin.buffer.read()  # until the other end is closed
    os.killpg(0, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
