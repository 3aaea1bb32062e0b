"""Errors of the user from worker processes, as they were raised there: torch gives them with a trace as their text."""

from collections.abc import Iterator
from contextlib import contextmanager

from omnikit.errors import OmnikitError


@contextmanager
def plain_errors() -> Iterator[None]:
    """Give an error of a worker with its sentence alone."""
    try:
        yield
    except OmnikitError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise type(error)(str(error).rpartition(f"{type(error).__name__}: ")[2].strip()) from error
