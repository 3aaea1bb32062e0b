"""Progress of work whose finished fraction is known: a bar on a terminal, elsewhere a line a minute."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

FIRST, EVERY = 20.0, 60.0  # seconds until the first line, and between two


class ProgressLines:
    """Prints a line at most every minute, the first after 20 seconds."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock = console, clock
        self.start = clock()
        self._next = self.start + FIRST

    def is_due(self) -> bool:
        """Whether it is time for a line."""
        return self._clock() >= self._next

    def write(self, line: str) -> None:
        """Print a line now; the next is due in a minute."""
        self._next = self._clock() + EVERY
        self._console.print(line, soft_wrap=True, highlight=False, markup=False)

    @property
    def seconds(self) -> float:
        """Since the start."""
        return self._clock() - self.start


@contextmanager
def progress(title: str, *, stderr: bool = False) -> Iterator[Callable[[float], None]]:
    """Show how far work is; gives the function that takes the finished fraction."""
    console = Console(stderr=stderr)
    if console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, refresh_per_second=2, console=console) as bar:
            task = bar.add_task(title, total=1.0)
            yield lambda fraction: bar.update(task, completed=fraction)
        return
    lines = ProgressLines(console)

    def report(fraction: float) -> None:
        if lines.is_due():
            left = f", about {duration(lines.seconds * (1 / fraction - 1))} left" if 0 < fraction <= 1 else ""
            lines.write(f"{title}: {fraction:.0%}{left}")

    yield report
    if lines.seconds >= FIRST:
        lines.write(f"{title}: done in {duration(lines.seconds)}")


def duration(seconds: float) -> str:
    """Write a time as a person would: 8 s, 12 min, 3 h 20 min, 2 d 4 h."""
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    if minutes < 120:
        return f"{minutes} min"
    hours = round(seconds / 3600)
    return f"{minutes // 60} h {minutes % 60} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"
