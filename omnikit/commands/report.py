"""Tables about finished work."""

from collections.abc import Iterable

from omnikit.text_table import columns
from omnikit.training.stage import StageResult


def stage_table(rows: Iterable[StageResult]) -> str:
    """Say for each stage what it trained, how long it took and its last numbers."""
    cells = [("stage", "trained", "steps", "seconds", "last numbers")]
    for row in rows:
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in row.numbers.items())
        done = ("done before", "", "") if row.skipped else (str(row.steps), f"{row.seconds:.0f}", numbers)
        cells.append((row.stage, ", ".join(row.trained), *done))
    return columns(cells)
