"""Command lines are read by argparse, but its complaints are one sentence like all others."""

import argparse
from typing import NoReturn

from omnikit.errors import ConfigError


def at_least_one(word: str) -> int:
    """Read a count for argparse."""
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"{word} is no whole number of at least 1")
    return int(word)


class Parser(argparse.ArgumentParser):
    """argparse without its usage lines: a wrong command line is a ConfigError."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{self.prog}: {message}; see {self.prog} --help.")


def names(word: str) -> tuple[str, ...]:
    """Read words with commas between, for argparse."""
    return tuple(part.strip() for part in word.split(","))
