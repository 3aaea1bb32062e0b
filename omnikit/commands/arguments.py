"""Command lines are read by argparse, but its errors are one sentence like all others."""

import argparse
from pathlib import Path
from typing import Any, NoReturn

from omnikit.errors import ConfigError


def at_least_one(text: str) -> int:
    """Read a count for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of at least 1")
    return int(text)


def file_path(text: str) -> Path:
    """Read a path for argparse; an empty one, as an unset variable of a shell gives it, would be the folder at hand."""
    if not text.strip():
        raise argparse.ArgumentTypeError("the path is empty; name a file or a folder")
    return Path(text)


class StoreOnce(argparse.Action):
    """Stores a value; an option that is given twice is an error, because its first value would be dropped."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any,
                 option_string: str | None = None) -> None:
        if option_string and self.dest in self._given(namespace):
            parser.error(f"{option_string} is given twice ({getattr(namespace, self.dest)} and {values}); give it once")
        self._given(namespace).add(self.dest)
        setattr(namespace, self.dest, values)

    @staticmethod
    def _given(namespace: argparse.Namespace) -> set[str]:
        found: set[str] = vars(namespace).setdefault("_given", set())
        return found


class Parser(argparse.ArgumentParser):
    """argparse without its usage lines: a wrong command line is a ConfigError."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.register("action", None, StoreOnce)
        self.register("action", "store", StoreOnce)
        self.register("type", Path, file_path)

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{self.prog}: {message}; see {self.prog} --help.")


def names(text: str) -> tuple[str, ...]:
    """Read names with commas between, for argparse."""
    return tuple(part.strip() for part in text.split(","))
