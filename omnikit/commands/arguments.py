"""Command lines are read by argparse, but its complaints are one sentence like all others."""

import argparse
from typing import NoReturn

from omnikit.errors import ConfigError


class Parser(argparse.ArgumentParser):
    """argparse without its usage lines: a wrong command line is a ConfigError."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{self.prog}: {message}; see {self.prog} --help.")
