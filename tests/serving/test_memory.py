"""Freed memory that glibc keeps, and what goes back."""

from pathlib import Path

from omnikit.serving.memory import return_freed_memory


def megabytes() -> float:
    """Memory of this process, as the kernel counts it."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def test_pages_between_what_is_in_use_go_back() -> None:
    blocks = [bytes(600) for _ in range(200_000)]
    in_use = blocks[::100]
    del blocks
    before = megabytes()
    return_freed_memory()
    assert len(in_use) == 2000
    assert before - megabytes() > 50  # of 120 MB
