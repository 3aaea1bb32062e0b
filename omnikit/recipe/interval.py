"""How often something happens: every so many steps, or after so much time."""

import re
from dataclasses import dataclass

SECONDS = {"s": 1, "min": 60, "h": 3600}


@dataclass(frozen=True)
class Interval:
    """So many steps, or so many seconds; one of the two is None."""

    steps: int | None = None
    seconds: float | None = None


def parse_interval(value: int | str) -> Interval:
    """Read 500 as steps, and "30s", "10min" or "2h" as time.

    Raises:
        ValueError: it is neither, or not above 0.
    """
    if isinstance(value, int):
        found = Interval(steps=value)
    else:
        match = re.fullmatch(r"(\d+(?:\.\d+)?) ?(s|min|h)", value)
        found = Interval(seconds=float(match[1]) * SECONDS[match[2]]) if match else Interval(steps=0)
    if (found.steps or found.seconds or 0) <= 0:
        raise ValueError(f"{value!r} is not an interval")
    return found
