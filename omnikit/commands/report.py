"""Tables about finished work."""

from collections.abc import Iterable

from omnikit.text_table import columns
from omnikit.training.stage_task import StageResult
from omnikit.training.sweeps.sweep import JobResult


def stage_table(results: Iterable[StageResult]) -> str:
    """Set for each stage what it trained, how long it took and its last numbers in a line."""
    cells = [("stage", "trained", "steps", "seconds", "last numbers")]
    for result in results:
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in result.numbers.items())
        done = ("done before", "", "") if result.skipped else (str(result.steps), f"{result.seconds:.0f}", numbers)
        cells.append((result.stage, ", ".join(result.trained), *done))
    return columns(cells)


def sweep_table(results: Iterable[JobResult]) -> str:
    """Set for each job of a sweep its overrides, run, time and last numbers in a line."""
    lines = [("job", "overrides", "run", "seconds", "last numbers")]
    for one in sorted(results, key=lambda result: result.job.number):
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in one.numbers.items())
        lines.append((str(one.job.number), " ".join(one.job.named) or "–", str(one.job.folder), f"{one.seconds:.0f}",
                      "failed" if one.error else numbers))
    return columns(lines)
