"""The shards that a path, a folder, a pattern or a range names. Opens none."""

import glob
import re
from pathlib import Path

from omnikit.errors import ConfigError

BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")


def shards(path: str) -> list[Path]:
    """Give the shards that a path, folder, pattern or range names, in order.

    Raises:
        ConfigError: there is none.
    """
    expanded = _expanded(str(Path(path).expanduser()))
    found = [Path(name) for each in expanded for name in (sorted(glob.glob(each)) or [each])]  # noqa: PTH207  # a whole path
    found = [shard for each in found for shard in (sorted(each.glob("*.tar")) if each.is_dir() else [each])]
    if not found:
        raise ConfigError(f"path is {path}, but there is no .tar in it; name a shard, a folder or a pattern of shards.")
    return found


def _expanded(path: str) -> list[str]:
    match = BRACES.search(path)
    if match is None:
        return [path]
    first, last = match.groups()
    numbers = [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
    return [name for number in numbers for name in _expanded(path[:match.start()] + number + path[match.end():])]
