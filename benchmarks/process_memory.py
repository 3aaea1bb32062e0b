"""What this process takes of the machine's memory, as the kernel counts it."""

import os
from pathlib import Path

# of a process that is measured: what it frees goes back at once, so that its peak is what it holds and not what malloc keeps
ENVIRONMENT = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(2**20), "OMP_NUM_THREADS": "1"}


def megabytes(line: str) -> float:
    """Give a line of the process's status in MB: VmRSS now, VmHWM at most (ru_maxrss is at least that of the parent)."""
    status = Path("/proc/self/status").read_text()
    return int(next(each for each in status.splitlines() if each.startswith(line)).split()[1]) / 1024
