"""A progress bar for work whose finished fraction is known."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn


@contextmanager
def progress(title: str) -> Iterator[Callable[[float], None]]:
    """Show a bar; gives the function that takes the finished fraction."""
    with Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), refresh_per_second=2) as bar:
        task = bar.add_task(title, total=1.0)
        yield lambda fraction: bar.update(task, completed=fraction)
