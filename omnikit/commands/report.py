"""Tables about finished work."""

from collections.abc import Iterable

from omnikit.text_table import columns
from omnikit.training.stage import StageResult


def stage_table(results: Iterable[StageResult]) -> str:
    """Set for each stage what it trained, how long it took and its last numbers in a line."""
    cells = [("stage", "trained", "steps", "seconds", "last numbers")]
    for result in results:
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in result.numbers.items())
        done = ("done before", "", "") if result.skipped else (str(result.steps), f"{result.seconds:.0f}", numbers)
        cells.append((result.stage, ", ".join(result.trained), *done))
    return columns(cells)
