"""A comparison of runs as JSON and as one HTML page that needs no other file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omnikit.evaluation.aggregate import MEANINGS
from omnikit.evaluation.comparison import ComparedRun, DatasetComparison, RunsComparison
from omnikit.evaluation.estimates import INTERVALS, Estimate
from omnikit.evaluation.metrics import NORMALISER, exact
from omnikit.evaluation.report import ANSWERS, render, title_of

HEADINGS = ANSWERS | {"speech_wer": "speech WER", "speech_cer": "speech CER"}
LONG = 24  # characters of a name at most, at the head of a column
SECONDS = ("ttft", "time_to_first_audio", "total_time")  # the real-time factor has no unit


def labels(runs: Sequence[ComparedRun]) -> list[str]:
    """Give a short name of each run: its path without the folders that all have in common; letters where that is long."""
    names = [run.label.rstrip("/") for run in runs]
    parts = [Path(name).parts for name in names]
    first, last = _common(parts), _common([part[::-1] for part in parts])
    short = ["/".join(part[first:len(part) - last]) for part in parts]
    found = short if all(short) and len(set(short)) == len(short) else names
    return found if max(map(len, found)) <= LONG else [chr(ord("A") + number) for number in range(len(found))]


def _common(parts: Sequence[Sequence[str]]) -> int:
    """Give how many of the first parts all have in common."""
    return next((number for number, some in enumerate(zip(*parts, strict=False)) if len(set(some)) > 1), 0)


def points(one: Estimate | None) -> str:
    """Format a difference in percentage points: +3.3."""
    return "–" if one is None else f"{100 * one.value:+.1f}"


def points_interval(one: Estimate | None) -> str:
    """Format the interval of a difference: [-1.7, +8.3]."""
    return "" if one is None or one.low is None or one.high is None else f"[{100 * one.low:+.1f}, {100 * one.high:+.1f}]"


def as_json(found: RunsComparison, differences: Mapping[str, Sequence[object]]) -> dict[str, Any]:
    """Give a comparison for programs; of the examples only the rows' ids."""
    return {
        "runs": [{"run": run.label, "recipe": run.evaluation.newest.get("recipe"),
                  "weights": run.evaluation.newest.get("weights")} for run in found.runs],
        "datasets": [_dataset(one) for one in found.datasets],
        "latency": [{"setting": setting, "number": name, "values": [one and asdict(one) for one in values]}
                    for (setting, name), values in found.latency.items()],
        "conditions": {place: list(values) for place, values in found.conditions.items()},
        "made_of": {place: list(values) for place, values in differences.items()},
    }


def _dataset(one: DatasetComparison) -> dict[str, Any]:
    return {"title": one.title, "rows": one.rows, "left_out": one.left_out, "note": one.note,
            "metrics": {line.metric: {"values": [value and asdict(value) for value in line.values],
                                      "differences": [value and asdict(value) for value in line.differences]}
                        for line in one.lines},
            "exact": [counts and asdict(counts) for counts in one.exact],
            "examples": [rows[0].id for rows in one.examples]}


def as_html(found: RunsComparison, differences: Mapping[str, Sequence[object]]) -> str:
    """Give a comparison for people."""
    metrics = dict.fromkeys(line.metric for one in found.datasets for line in one.lines)
    return render(
        "comparison.html.jinja", names=labels(found.runs), runs=found.runs, datasets=found.datasets, latency=found.latency,
        tables={"Evaluated otherwise": found.conditions, "Made of": differences}, exact=exact,
        points=points, points_interval=points_interval, headings=HEADINGS, seconds=SECONDS,
        title_of=title_of, normaliser=NORMALISER, intervals=INTERVALS,
        meanings={HEADINGS[name]: MEANINGS[name] for name in metrics})
