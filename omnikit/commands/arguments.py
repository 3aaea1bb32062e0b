"""Command lines are read by argparse, but its errors are one sentence like all others."""

import argparse
from typing import NoReturn

from omnikit.errors import ConfigError


def at_least_one(text: str) -> int:
    """Read a count for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of at least 1")
    return int(text)


class Parser(argparse.ArgumentParser):
    """argparse without its usage lines: a wrong command line is a ConfigError."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{self.prog}: {message}; see {self.prog} --help.")


def names(text: str) -> tuple[str, ...]:
    """Read names with commas between, for argparse."""
    return tuple(part.strip() for part in text.split(","))
