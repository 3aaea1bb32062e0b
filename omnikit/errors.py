"""The errors of a user, as exceptions whose text is one sentence for each.

    OmnikitError            anything the user can fix: printed without a trace, exit code 2
    ├── RegistryError       a component or preset that is unknown, broken or published twice
    ├── ConfigError         a key, a value or a file of the configuration
    ├── PlanError           parts that do not fit together (all of them at once)
    ├── DataError           a data row, a media file, a dataset
    ├── RunError            a run folder, a checkpoint, a disk
    └── AdmissionError      more work than a limit allows at the same time

A bug of ours is never an OmnikitError: it shows its trace.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class OmnikitError(Exception):
    """An error that the user can fix; its text gives what, where, found, expected and what to do."""

    def __init__(self, *sentences: str) -> None:
        super().__init__("\n".join(sentences))
        self.sentences = sentences


class RegistryError(OmnikitError):
    """A component or preset is unknown, broken or published by two packages."""


class ConfigError(OmnikitError):
    """A key, a value or a file of the configuration is wrong."""


class PlanError(OmnikitError):
    """Parts do not fit together; holds one sentence for each mismatch."""


class DataError(OmnikitError):
    """A data row, a media file or a whole dataset cannot be used.

    Args:
        kind: in which way, in two or three words, for counting.
        row: the row's id, where a reader gives it.
    """

    def __init__(self, *sentences: str, kind: str = "other", row: str = "") -> None:
        super().__init__(*sentences)
        self.kind, self.row = kind, row


class RunError(OmnikitError):
    """A run folder, a checkpoint or the disk under it cannot be used."""


class AdmissionError(OmnikitError):
    """More is asked for at the same time than a limit allows; later it may be accepted."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Give ' Did you mean X?' for the closest known word, or an empty string."""
    close = get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else ""
