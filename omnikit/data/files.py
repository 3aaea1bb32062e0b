"""Files that appear whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from omnikit.errors import RunError


@contextmanager
def whole_file(path: Path, sentence: str = "{} cannot be written: {}.") -> Iterator[Path]:
    """Give a name beside `path` to write to, which takes the name `path` in the end; whatever goes wrong leaves neither.

    Args:
        sentence: for what the disk refuses; takes the path and the reason.

    Raises:
        RunError: the disk refuses.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(path)
    except OSError as error:
        raise RunError(sentence.format(path, error.strerror or error)) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
